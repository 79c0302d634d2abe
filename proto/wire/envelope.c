/* envelope.c: see envelope.h. */
#include "proto/wire/envelope.h"

#include "proto/wire/reader.h"

const char *pr_type_name(uint32_t type)
{
    switch (type) {
#define PR_TYPE_CASE(name, number) \
    case number:                   \
        return #name;
        PR_TYPE_MAP(PR_TYPE_CASE)
#undef PR_TYPE_CASE
    }
    return NULL;
}

enum cm_err pr_peek(struct cm_bytes header, struct pr_envelope *out, struct cm_error *e)
{
    struct pr_reader r;
    pr_reader_open(&r, header, e);
    *out = r.envelope;
    return pr_reader_close(&r);
}
