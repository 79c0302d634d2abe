/* cross.h: one kernel under test: the bits of each stage in a digest, the values against double.
 *
 * The program is plain: no Criterion, no library but libc, so that it runs wherever a compiler can
 * build it (tests/cross/run). The same inputs go into every kernel on every machine, and kernels of
 * a numeric class must come to the same digests (main.c). What the bits are worth is told by the
 * second check: every value lies as close to the same sum in double as rounding explains. */
#ifndef CROSS_H
#define CROSS_H

#include "worker/score/kernels/kernel.h"

#include <stddef.h>
#include <stdint.h>

/* The stages, in the order in which they are printed. */
enum cross_stage {
    CROSS_PROJECT, /* fc1, sizes around every tile */
    CROSS_PACK,    /* whole images, as galleries store them */
    CROSS_PRODUCT, /* token product, with and without a mask, and both maxima */
    CROSS_HEAD,    /* the MLP head, overflow included */
    CROSS_SCORE,   /* whole pairs, from raw maps to scores */
    CROSS_STAGES,
};

/* What a stage came to; all 0 at first. */
struct cross_result {
    uint64_t digest; /* of all that came out, see cross_digest */
    size_t wrong;    /* values that rounding does not explain */
    char first[160]; /* the first of them */
};

/* Adds to the digest. Of floats and doubles every bit counts, but all NaN are one: their bits are
 * the processor's own. */
void cross_add_bytes(struct cross_result *r, const void *data, size_t size);
void cross_add_floats(struct cross_result *r, const float *values, size_t count);
void cross_add_doubles(struct cross_result *r, const double *values, size_t count);

/* The digest so far. */
uint32_t cross_digest(const struct cross_result *r);

/* Counts one value: wrong if it lies further than `most` from `want`. `what`, `size` and `at` say
 * which it was. */
void cross_near(struct cross_result *r, const char *what, size_t size, size_t at, double got,
                double want, double most);

/* The stages of one kernel that this processor runs. */
void cross_project(const struct sc_kernel *k, struct cross_result *r);
void cross_product(const struct sc_kernel *k, struct cross_result *r);
void cross_head(const struct sc_kernel *k, struct cross_result *r);
void cross_pairs(const struct sc_kernel *k, struct cross_result *pack, struct cross_result *score);

/* The folded weights of the models of cross_pairs, the constant as a float. No standard says how
 * exp() rounds, but a float is another only where two of its doubles lie on either side of a
 * border. */
void cross_fold(struct cross_result *r);

#endif
