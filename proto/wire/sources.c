/* sources.c: see sources.h. */
#include "proto/wire/sources.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <stdio.h>
#include <string.h>

enum cm_err pr_sources_check(const struct pr_sources *s, struct cm_error *e)
{
    return pr_check_range("the number of sources", s->count, 0, CM_SOURCES_MAX, e);
}

void pr_sources_write(struct pr_writer *w, uint32_t key, const struct pr_sources *s)
{
    pr_write_key(w, key);
    pr_write_list(w, s->count);
    for (uint32_t i = 0; i < s->count && !w->rc; i++)
        pr_write_text(w, s->endpoints[i], 1, CM_ENDPOINT_BYTES_MAX);
}

void pr_sources_read(struct pr_fields *f, unsigned key, struct pr_sources *s)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, key, "sources", CM_SOURCES_MAX);
    s->count = 0;
    for (size_t i = 0; i < list.count && !r->rc; i++) {
        struct pr_fields item = {.reader = r, .seen = 1, .values = {&list.items[i]}};
        pr_copy_text(&item, 0, "source", s->endpoints[i], CM_ENDPOINT_BYTES_MAX);
        if (!r->rc && s->endpoints[i][0] == '\0')
            r->rc = cm_fail(r->e, CM_EFORMAT, "a source without an endpoint");
        pr_reader_where(r, "source", i);
        s->count += !r->rc;
    }
}
