/* pairs.c: see pairs.h. */
#include "ops/cli/pairs.h"

#include "common/geometry.h"
#include "common/mem.h"
#include "ops/cli/progress.h"
#include "worker/store/gallery.h"

#include <inttypes.h>
#include <stdlib.h>

/* Gallery images packed at a time: bounds the memory whatever the gallery's size. */
enum { BLOCK_IMAGES = 64 };

static enum cm_err check_maps(const struct sc_model *m, const struct pr_npy *n, struct cm_error *e)
{
    return cm_geometry_check_map(&m->geometry, n->input.path, n->height, n->width, n->channels, e);
}

enum cm_err cli_pairs_open(struct cli_pairs *p, const char *model, const char *query,
                           const char *gallery, struct cm_error *e)
{
    enum cm_err rc = st_read_model(model, &p->model, e);
    if (!rc)
        rc = pr_npy_open(&p->query, query, e);
    if (!rc)
        rc = pr_npy_open(&p->gallery, gallery, e);
    if (!rc)
        rc = check_maps(p->model, p->query, e);
    if (!rc)
        rc = check_maps(p->model, p->gallery, e);
    return rc;
}

static void free_buffers(struct cli_pairs *p)
{
    free(p->map);
    free(p->queries);
    free(p->block);
    free(p->scores);
    sc_scratch_free(p->scratch);
    p->map = NULL;
    p->queries = NULL;
    p->block = NULL;
    p->scores = NULL;
    p->scratch = NULL;
}

static enum cm_err new_buffers(struct cli_pairs *p, struct cm_error *e)
{
    void *memory = NULL;
    p->stride = cm_round_up(sc_packed_bytes(p->model), CM_ALIGN);
    enum cm_err rc = sc_scratch_new(&p->scratch, p->model, e);
    if (!rc)
        rc = cm_new_aligned(&memory, p->query->image_floats, sizeof(float), e);
    p->map = memory;
    if (!rc)
        rc = cm_new_aligned(&p->queries, p->query->images, p->stride, e);
    if (!rc)
        rc = cm_new_aligned(&p->block, BLOCK_IMAGES, p->stride, e);
    memory = NULL;
    if (!rc)
        rc = cm_new_aligned(&memory, p->query->images, p->gallery->images * sizeof(float), e);
    p->scores = memory;
    return rc ? cm_wrap(e, rc,
                        "%" PRIu64 " x %" PRIu64 " pairs are too many for this memory; use "
                        "import and search",
                        p->query->images, p->gallery->images)
              : CM_OK;
}

enum cm_err cli_pairs_set_precision(struct cli_pairs *p, enum cm_precision precision,
                                    struct cm_error *e)
{
    free_buffers(p);
    enum cm_err rc = sc_model_set_precision(p->model, precision, e);
    return rc ? rc : new_buffers(p, e);
}

/* Reads and packs images first .. first + count - 1. */
static enum cm_err pack(struct cli_pairs *p, const struct pr_npy *n, uint64_t first, size_t count,
                        void *out, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    for (size_t i = 0; !rc && i < count; i++) {
        rc = pr_npy_read(n, first + i, 1, p->map, e);
        if (rc)
            return rc;
        rc = sc_pack(p->model, p->scratch, p->map, (char *)out + i * p->stride, e);
        if (rc)
            rc = cm_wrap(e, rc, "%s: image %" PRIu64, n->input.path, first + i);
    }
    return rc;
}

enum cm_err cli_pairs_score(struct cli_pairs *p, struct cm_error *e)
{
    uint64_t queries = p->query->images, images = p->gallery->images;
    struct cli_progress progress;
    cli_progress_start(&progress, "pairs", queries * images);
    enum cm_err rc = pack(p, p->query, 0, queries, p->queries, e);
    for (uint64_t first = 0; !rc && first < images; first += BLOCK_IMAGES) {
        size_t count = images - first < BLOCK_IMAGES ? images - first : BLOCK_IMAGES;
        rc = pack(p, p->gallery, first, count, p->block, e);
        for (uint64_t q = 0; !rc && q < queries; q++) {
            sc_score(p->model, p->scratch, (char *)p->queries + q * p->stride, p->block, p->stride,
                     count, p->scores + q * images + first);
            cli_progress_at(&progress, first * queries + (q + 1) * count, 0);
        }
    }
    cli_progress_end(&progress);
    return rc;
}

void cli_pairs_close(struct cli_pairs *p)
{
    free_buffers(p);
    pr_npy_close(p->query);
    pr_npy_close(p->gallery);
    sc_model_free(p->model);
    *p = (struct cli_pairs){0};
}
