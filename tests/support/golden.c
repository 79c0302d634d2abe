/* golden.c: see golden.h. */
#include "tests/support/golden.h"

#include "tests/support/files.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void test_golden(const char *name, const void *data, size_t size)
{
    char path[512];
    const char *source = getenv("VITRINE_SOURCE"), *write = getenv("VITRINE_GOLDEN_WRITE");
    snprintf(path, sizeof path, "%s/tests/golden/format/%s", source ? source : ".", name);
    if (write && strcmp(write, "1") == 0) {
        test_write(path, data, size);
        return;
    }
    size_t want_size;
    char *want = test_read(path, &want_size);
    size_t at = 0;
    while (at < size && at < want_size && want[at] == ((const char *)data)[at])
        at++;
    cr_assert(at == size && at == want_size, "%s: byte %zu of %zu differs (%zu bytes now)", name,
              at, want_size, size);
    free(want);
}
