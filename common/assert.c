/* assert.c: see assert.h. */
#include "common/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void cm_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
    abort();
}
