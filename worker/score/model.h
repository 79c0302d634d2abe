/* model.h: a trained matcher with every BatchNorm folded away, ready to score.
 *
 * The maths (DESIGN 1; reference transmatcher.py, TransformerDecoderLayer.forward, and qaconv.py).
 * With X the tokens of one image, q the query, g the gallery image, s a gallery token, t a query
 * token:
 *
 *     Q = X_q W1' + b1      K = X_g W1' + b1                    (QAConv: Q = X_q, K = X_g)
 *     S[s,t] = <K_s, Q_t> * sigmoid(E[s,t])                     (QAConv: no mask)
 *     a_t = max_s S[s,t]    b_s = max_t S[s,t]
 *     f(u) = w3 . relu(BN2(W2 BN1(u) + c2)) + c3                (QAConv: f(u) = w . BN(u) + c)
 *     score = BNfinal( sum_l BN3_l( f_l(a) + f_l(b) ) )         (QAConv: logit_bn( f(a) + f(b) ))
 *
 * At inference BN(x) = x * scale + shift, so with BN1, fc2, BN2 in `hidden` and `bias`, and fc3,
 * BN3, BNfinal in `out` and `constant`:
 *
 *     score = constant + sum_l out_l . ( relu(hidden_l a + bias_l) + relu(hidden_l b + bias_l) )
 *
 * Immutable once made; shared by all threads. */
#ifndef SC_MODEL_H
#define SC_MODEL_H

#include "common/err.h"
#include "common/types.h"
#include "common/weights.h"

#include <stddef.h>

/* One layer's arrays, inside the model's one block of memory. */
struct sc_layer {
    const float *fc1;      /* [d][d] out, in; NULL for QAConv */
    const float *fc1_bias; /* [d]; NULL for QAConv */
    const float *mask;     /* [T][T] sigmoid(E), gallery token by query token; NULL for QAConv */
    const float *hidden;   /* [ff][T]; NULL for QAConv */
    const float *bias;     /* [ff]; NULL for QAConv */
    const float *out;      /* [ff], or [T] for QAConv */
};

struct sc_kernel;
struct sc_tiles;

struct sc_model {
    struct cm_geometry geometry;
    double constant;         /* the score of a pair whose heads all give 0 */
    struct sc_layer *layers; /* [geometry.layers] */
    void *block;             /* what layers[] point into: the folded weights as stored */
    size_t block_bytes;
    const struct sc_kernel *kernel; /* what scores */
    struct sc_tiles *tiles;         /* [geometry.layers]: the weights laid out for it (tiles.h) */
};

/* Folds trained weights. Looks for the reference's names (`decoder.layers.{l}.fc1.weight`, ...,
 * `decoder.norm.*`; QAConv: `bn.*`, `fc.*`, `logit_bn.*`); other tensors are ignored.
 * Errors: CM_EFORMAT names a tensor that is missing, has another shape, or does not fold to finite
 * numbers; CM_ENOMEM. The model is for f32 until sc_model_set_precision. */
enum cm_err sc_model_fold(struct sc_model **out, const struct cm_weights *weights,
                          struct cm_error *e) __attribute__((warn_unused_result));

/* A model from its folded weights as sc_model_fold left them in `block` (copied). `g` was checked.
 * Errors: CM_EFORMAT (wrong size for `g`, a value that is not finite), CM_ENOMEM. For f32 at first.
 */
enum cm_err sc_model_load(struct sc_model **out, const struct cm_geometry *g, const void *block,
                          size_t block_bytes, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Makes the model pack and score in this precision, with the kernel that sc_kernel_choose finds.
 * While nobody uses it, and before a scratch is made for it. Errors: CM_EUSAGE (VITRINE_KERNEL),
 * CM_ENOMEM. */
enum cm_err sc_model_set_precision(struct sc_model *m, enum cm_precision precision,
                                   struct cm_error *e) __attribute__((warn_unused_result));

void sc_model_free(struct sc_model *m); /* NULL is fine */

/* Bytes of the folded weights of a model of these sizes: the layout is a function of them alone. */
size_t sc_model_block_bytes(const struct cm_geometry *g);

/* The fingerprint of the sizes and the folded weights. */
enum cm_err sc_model_fingerprint(const struct sc_model *m, struct cm_fingerprint *out,
                                 struct cm_error *e) __attribute__((warn_unused_result));

#endif
