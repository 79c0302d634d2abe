/* scorer.h: from feature maps to scores.
 *
 * An image is packed once (projected through fc1) into the form that shards store; then any packed
 * query scores any packed gallery image. The bits of a score depend on the pair, the model, and the
 * numeric class alone: not on what else is in the call, nor on the thread.
 * One scratch a thread; the model is shared. */
#ifndef SC_SCORER_H
#define SC_SCORER_H

#include "common/err.h"
#include "worker/score/model.h"

#include <stddef.h>

/* The largest packed value. Two packed tokens then have a finite product sum in float32:
 * d * (2^57)^2 <= 2^13 * 2^114 < 2^128. */
#define SC_PACKED_MAX 0x1p57f

/* One thread's working memory for one model: no allocation happens while scoring. */
struct sc_scratch;
/* For this model. Free it with sc_scratch_free. Errors: CM_ENOMEM. */
enum cm_err sc_scratch_new(struct sc_scratch **out, const struct sc_model *m, struct cm_error *e)
    __attribute__((warn_unused_result));
void sc_scratch_free(struct sc_scratch *s); /* NULL is fine */

/* Bytes of one packed image: [layers], each as kernels/encode.h says for the model's precision. */
size_t sc_packed_bytes(const struct sc_model *m);

/* Packs one raw map [tokens][layers * channels] (finite) into `out`, sc_packed_bytes long and
 * CM_ALIGN-aligned. Errors: CM_EFORMAT if a packed value is beyond SC_PACKED_MAX. */
enum cm_err sc_pack(const struct sc_model *m, struct sc_scratch *s, const float *map, void *out,
                    struct cm_error *e) __attribute__((warn_unused_result));

/* Scores one packed query against `count` packed images, the first at `images`, each `stride` bytes
 * after the one before (both multiples of CM_ALIGN). scores[i] may be infinite or NaN where float32
 * overflows; whoever ranks puts such a score last. Borrows everything. */
void sc_score(const struct sc_model *m, struct sc_scratch *s, const void *query, const void *images,
              size_t stride, size_t count, float *scores);

/* Writes the numeric class: within one class, a pair has the same bits everywhere, whatever the
 * processor. Precision and order of sums: "f32/fma". Returns `out`. */
const char *sc_numeric_class(const struct sc_model *m, char *out, size_t room);

/* The kernel that scores with this model, by its name in kernels/table.c. */
const char *sc_kernel_name(const struct sc_model *m);

#endif
