/* fingerprint.c: a model's fingerprint, see model.h. In a file of its own: it is all that the
 * scorer wants of libraries, and tests/cross has none. */
#include "worker/score/model.h"

#include "common/checksum.h"

enum cm_err sc_model_fingerprint(const struct sc_model *m, struct cm_fingerprint *out,
                                 struct cm_error *e)
{
    const struct cm_geometry *g = &m->geometry;
    const uint32_t sizes[] = {(uint32_t)g->matcher, g->height, g->width,
                              g->channels,          g->layers, g->ff};
    struct cm_hash *hash;
    enum cm_err rc = cm_hash_new(&hash, e);
    if (rc)
        return rc;
    cm_hash_add(hash, sizes, sizeof sizes);
    cm_hash_add(hash, m->block, m->block_bytes);
    *out = cm_hash_get(hash);
    cm_hash_free(hash);
    return CM_OK;
}
