/* table.c: see table.h. To add a kernel: its files, and its row here. */
#include "worker/score/kernels/table.h"

#include "common/geometry.h"
#include "worker/score/kernels/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
/* Each asks the processor and, through it, whether the operating system keeps those registers. */
static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

static bool has_avx512vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

static bool always(void)
{
    return true;
}

/* The tile of an instruction set, and what is in float32 in every precision. */
#define ON_AVX512                                                                       \
    .rows = SC_AVX512_ROWS, .columns = SC_AVX512_COLUMNS, .project = sc_project_avx512, \
    .head = sc_head_avx512
#define ON_AVX2                                                                   \
    .rows = SC_AVX2_ROWS, .columns = SC_AVX2_COLUMNS, .project = sc_project_avx2, \
    .head = sc_head_avx2
#define ON_C .rows = SC_PORTABLE_ROWS, .columns = SC_PORTABLE_COLUMNS, .supported = always

static const struct sc_kernel kernels[] = {
#if defined(__x86_64__)
    {"avx512", "f32/fma", CM_F32, ON_AVX512, .supported = has_avx512, .query = sc_query_f32,
     .product = sc_product_f32_avx512, .peak = sc_peak_f32_avx512},
    {"avx2", "f32/fma", CM_F32, ON_AVX2, .supported = has_avx2, .query = sc_query_f32,
     .product = sc_product_f32_avx2, .peak = sc_peak_f32_avx2},
#endif
    {"portable", "f32/fma", CM_F32, ON_C, .project = sc_project_portable, .query = sc_query_f32,
     .product = sc_product_f32_portable, .head = sc_head_portable},
    {"plain", "f32/plain", CM_F32, ON_C, .project = sc_project_plain, .query = sc_query_f32,
     .product = sc_product_f32_plain, .head = sc_head_plain},
#if defined(__x86_64__)
    {"avx512bf16", "bf16/dp", CM_BF16, ON_AVX512, .supported = has_avx512bf16,
     .query = sc_query_bf16_pairs, .product = sc_product_bf16_avx512bf16,
     .peak = sc_peak_bf16_avx512bf16},
    {"avx512", "bf16/fma", CM_BF16, ON_AVX512, .supported = has_avx512, .query = sc_query_bf16,
     .product = sc_product_bf16_avx512},
    {"avx2", "bf16/fma", CM_BF16, ON_AVX2, .supported = has_avx2, .query = sc_query_bf16,
     .product = sc_product_bf16_avx2},
#endif
    {"portable", "bf16/fma", CM_BF16, ON_C, .project = sc_project_portable, .query = sc_query_bf16,
     .product = sc_product_bf16_portable, .head = sc_head_portable},
#if defined(__x86_64__)
    {"avx512vnni", "int8", CM_INT8, ON_AVX512, .supported = has_avx512vnni,
     .query = sc_query_int8_quads, .product = sc_product_int8_avx512vnni,
     .peak = sc_peak_int8_avx512vnni},
    {"avx512", "int8", CM_INT8, ON_AVX512, .supported = has_avx512, .query = sc_query_int8,
     .product = sc_product_int8_avx512},
    {"avx2", "int8", CM_INT8, ON_AVX2, .supported = has_avx2, .query = sc_query_int8,
     .product = sc_product_int8_avx2},
#endif
    {"portable", "int8", CM_INT8, ON_C, .project = sc_project_portable, .query = sc_query_int8,
     .product = sc_product_int8_portable, .head = sc_head_portable},
};
enum { KERNELS = sizeof kernels / sizeof *kernels };

const struct sc_kernel *sc_kernel_at(size_t i)
{
    return i < KERNELS ? &kernels[i] : NULL;
}

/* The names of one precision's kernels that this processor can run, for an error's text. */
static void list_names(enum cm_precision precision, char *out, size_t room)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < KERNELS && n < room; i++)
        if (kernels[i].precision == precision && kernels[i].supported())
            n += (size_t)snprintf(out + n, room - n, "%s%s", n ? ", " : "", kernels[i].name);
}

/* The first of this precision that the processor supports, of this name unless it is NULL. */
static const struct sc_kernel *find(enum cm_precision precision, const char *name)
{
    for (size_t i = 0; i < KERNELS; i++)
        if (kernels[i].precision == precision && kernels[i].supported() &&
            (!name || strcmp(kernels[i].name, name) == 0))
            return &kernels[i];
    return NULL;
}

enum cm_err sc_kernel_choose(const struct sc_kernel **out, enum cm_precision precision,
                             struct cm_error *e)
{
    const char *forced = getenv(SC_KERNEL_VARIABLE);
    char names[160];
    *out = find(precision, forced);
    if (*out)
        return CM_OK;
    list_names(precision, names, sizeof names);
    return cm_fail(e, CM_EUSAGE,
                   SC_KERNEL_VARIABLE " is '%.40s', no %s kernel that this processor can run; "
                                      "there are %s",
                   forced, cm_precision_name(precision), names);
}

const struct sc_kernel *sc_kernel_default(enum cm_precision precision)
{
    const char *forced = getenv(SC_KERNEL_VARIABLE);
    const struct sc_kernel *named = forced ? find(precision, forced) : NULL;
    return named ? named : find(precision, NULL);
}
