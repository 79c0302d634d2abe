/* gather.c: a planted fault, see tests/tidy/run. */
#include "coordinator/gather.h"

#include "common/good.h"
#include "proto/wire/hello.h"

#include <stdatomic.h>
#include <string.h>

/* Not strcpy(a, b), and "/" "*" in a string opens no comment. */
static const char *const names[] = {"strcpy(", "/*", "'", "\"sprintf("};

static int bare(const char *text)
{
    return strcmp(text, names[0]);
}

int co_gather(const struct co_gather *g)
{
    return bare(g->name) + g->rand(1);
}
