/* table.c: see table.h. To add a kernel: its files, and its row here. */
#include "worker/score/kernels/table.h"

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

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

static bool always(void)
{
    return true;
}

static const struct sc_kernel kernels[] = {
#if defined(__x86_64__)
    {"avx512", "f32/fma", CM_F32, SC_AVX512_ROWS, SC_AVX512_COLUMNS, has_avx512,
     sc_f32_project_avx512, sc_f32_product_avx512, sc_f32_head_avx512},
    {"avx2", "f32/fma", CM_F32, SC_AVX2_ROWS, SC_AVX2_COLUMNS, has_avx2, sc_f32_project_avx2,
     sc_f32_product_avx2, sc_f32_head_avx2},
#endif
    {"portable", "f32/fma", CM_F32, SC_PORTABLE_ROWS, SC_PORTABLE_COLUMNS, always,
     sc_f32_project_portable, sc_f32_product_portable, sc_f32_head_portable},
    {"plain", "f32/plain", CM_F32, SC_PORTABLE_ROWS, SC_PORTABLE_COLUMNS, always,
     sc_f32_project_plain, sc_f32_product_plain, sc_f32_head_plain},
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

enum cm_err sc_kernel_choose(const struct sc_kernel **out, enum cm_precision precision,
                             struct cm_error *e)
{
    const char *forced = getenv(SC_KERNEL_VARIABLE);
    char names[160];
    bool known = false;
    for (size_t i = 0; i < KERNELS; i++) {
        const struct sc_kernel *k = &kernels[i];
        if (k->precision != precision || (forced && strcmp(k->name, forced) != 0))
            continue;
        known = true;
        if (k->supported()) {
            *out = k;
            return CM_OK;
        }
    }
    list_names(precision, names, sizeof names);
    return cm_fail(e, CM_EUSAGE, SC_KERNEL_VARIABLE " is '%.40s', %s; there are %s",
                   forced ? forced : "", known ? "which this processor cannot run" : "no kernel",
                   names);
}
