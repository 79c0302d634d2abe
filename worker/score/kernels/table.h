/* table.h: all kernels, and the choice among them. */
#ifndef SC_TABLE_H
#define SC_TABLE_H

#include "common/err.h"
#include "worker/score/kernels/kernel.h"

/* The environment variable that forces a kernel by its name. */
#define SC_KERNEL_VARIABLE "VITRINE_KERNEL"

/* Kernel number `i` of the table, best first within a precision; NULL past the last. */
const struct sc_kernel *sc_kernel_at(size_t i);

/* The kernel to use for this precision on this processor: the first of the table that it supports,
 * or the one that VITRINE_KERNEL names. Errors: CM_EUSAGE if the variable names none of this
 * precision, or one that this processor cannot run. */
enum cm_err sc_kernel_choose(const struct sc_kernel **out, enum cm_precision precision,
                             struct cm_error *e) __attribute__((warn_unused_result));

/* The operations, see kernel.h; each in a file of its name, compiled for its own instruction set.
 */
sc_project_fn sc_f32_project_avx512, sc_f32_project_avx2, sc_f32_project_portable,
    sc_f32_project_plain;
/* The same. */
sc_product_fn sc_f32_product_avx512, sc_f32_product_avx2, sc_f32_product_portable,
    sc_f32_product_plain;
/* The same. */
sc_head_fn sc_f32_head_avx512, sc_f32_head_avx2, sc_f32_head_portable, sc_f32_head_plain;

#endif
