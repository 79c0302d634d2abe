/* verify.c: see verify.h. */
#include "worker/store/verify.h"

#include "common/geometry.h"
#include "common/mem.h"
#include "worker/store/gallery.h"
#include "worker/store/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One run. */
struct verify {
    const struct st_verify_options *o;
    const struct st_gallery *gallery;
    struct st_verified *out;
    uint64_t total_bytes;
};

static void tell(struct verify *v, const char *text)
{
    v->out->faults++;
    v->o->fault(v->o->ctx, text);
}

static void done(struct verify *v, uint64_t bytes)
{
    v->out->bytes += bytes;
    if (v->o->progress)
        v->o->progress(v->o->ctx, v->out->bytes, v->total_bytes);
}

static void verify_weights(struct verify *v)
{
    struct sc_model *model;
    struct cm_error e;
    if (st_gallery_model(v->gallery, &model, &e))
        tell(v, e.text);
    sc_model_free(model);
    v->out->files++;
    v->out->blocks++;
}

/* Checks each block and notes its fingerprint; true if all are sound. */
static bool verify_blocks(struct verify *v, struct st_shard *s, struct cm_fingerprint *parts)
{
    const struct pr_shard_header *h = st_shard_header(s);
    uint64_t before = v->out->faults;
    for (uint64_t b = 0; b < h->blocks; b++) {
        struct st_block block;
        struct cm_error e;
        parts[b] = st_shard_block_fingerprint(s, b);
        if (st_shard_block(s, b, &block, &e))
            tell(v, e.text);
        v->out->blocks++;
        done(v, pr_block_bytes(h, b));
    }
    return v->out->faults == before;
}

static enum cm_err verify_shard(struct verify *v, struct st_shard *s, struct cm_error *e)
{
    const struct pr_shard_header *h = st_shard_header(s);
    void *p;
    enum cm_err rc = cm_new(&p, h->blocks + 1, sizeof(struct cm_fingerprint), e);
    if (rc)
        return rc;
    struct cm_fingerprint *parts = p;
    if (verify_blocks(v, s, parts)) {
        parts[h->blocks] = st_shard_meta_fingerprint(s);
        struct cm_fingerprint found = pr_content_fingerprint(parts, h->blocks + 1);
        char file[PR_SHARD_FILE_BYTES], text[128];
        snprintf(text, sizeof text, "%s: the content's fingerprint is not the header's",
                 pr_shard_file(h->shard_index, file));
        if (memcmp(found.bytes, h->content_fingerprint, sizeof found.bytes) != 0)
            tell(v, text);
    }
    free(parts);
    return CM_OK;
}

static enum cm_err verify_shards(struct verify *v, struct cm_error *e)
{
    const struct pr_manifest *m = &v->gallery->manifest;
    enum cm_err rc = CM_OK;
    for (uint32_t i = 0; !rc && i < m->shards_count; i++) {
        struct st_shard *s;
        v->out->files++;
        rc = st_shard_open(&s, v->gallery, i, e);
        if (rc && rc != CM_ENOMEM) {
            tell(v, e->text);
            rc = CM_OK;
        } else if (!rc) {
            rc = verify_shard(v, s, e);
        }
        st_shard_close(s);
    }
    return rc;
}

static void keep_first(void *ctx, const char *text)
{
    struct cm_error *e = ctx;
    if (!e->code)
        cm_fail(e, CM_ECORRUPT, "%s", text);
}

enum cm_err st_verify_shard(struct st_shard *s, struct cm_error *e)
{
    struct cm_error found = {.code = CM_OK};
    const struct st_verify_options o = {.fault = keep_first, .ctx = &found};
    struct st_verified out = {0};
    struct verify v = {.o = &o, .out = &out};
    enum cm_err rc = verify_shard(&v, s, e);
    if (!rc && out.faults > 0) {
        *e = found;
        rc = found.code;
    }
    return rc;
}

enum cm_err st_verify(const char *dir, const struct st_verify_options *o, struct st_verified *out,
                      struct cm_error *e)
{
    struct st_gallery gallery;
    *out = (struct st_verified){0};
    enum cm_err rc = st_gallery_open(&gallery, dir, e);
    if (!rc) {
        struct verify v = {o, &gallery, out, 0};
        for (uint32_t i = 0; i < gallery.manifest.shards_count; i++)
            v.total_bytes += gallery.manifest.shards[i].bytes;
        out->files++;
        verify_weights(&v);
        rc = verify_shards(&v, e);
    }
    st_gallery_close(&gallery);
    return rc;
}
