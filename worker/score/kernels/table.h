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

/* The same without a word about a wrong name: the first that the processor supports, or the one
 * that VITRINE_KERNEL names if there is such a one for this precision. */
const struct sc_kernel *sc_kernel_default(enum cm_precision precision);

/* The operations, see kernel.h; each in a file of its name, compiled for its own instruction set.
 */
sc_project_fn sc_project_avx512, sc_project_avx2, sc_project_portable, sc_project_plain;
/* The same. */
sc_head_fn sc_head_avx512, sc_head_avx2, sc_head_portable, sc_head_plain;
/* The same. */
sc_product_fn sc_product_f32_avx512, sc_product_f32_avx2, sc_product_f32_portable,
    sc_product_f32_plain;
/* The same. */
sc_product_fn sc_product_bf16_avx512bf16, sc_product_bf16_avx512, sc_product_bf16_avx2,
    sc_product_bf16_portable;
/* The same. */
sc_product_fn sc_product_int8_avx512vnni, sc_product_int8_avx512, sc_product_int8_avx2,
    sc_product_int8_portable;

/* See sc_peak_fn. */
sc_peak_fn sc_peak_f32_avx512, sc_peak_f32_avx2, sc_peak_bf16_avx512bf16, sc_peak_int8_avx512vnni;

#endif
