/* blas.c: see blas.h. */
#include "worker/score/blas.h"

#include <cblas.h>
#include <stdio.h>
#include <string.h>

void sc_gemm_nt(size_t rows, size_t columns, size_t depth, const float *a, size_t a_stride,
                const float *b, size_t b_stride, float *c)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)columns,
                (blasint)depth, 1.0f, a, (blasint)a_stride, b, (blasint)b_stride, 0.0f, c,
                (blasint)columns);
}

void sc_blas_single_thread(void)
{
    openblas_set_num_threads(1);
}

const char *sc_blas_core(char *out, size_t room)
{
    /* openblas_get_config is "OpenBLAS 0.3.21 NO_AFFINITY ...": the second word is the version. */
    char config[256];
    snprintf(config, sizeof config, "%s", openblas_get_config());
    char *rest = NULL;
    strtok_r(config, " ", &rest);
    const char *version = strtok_r(NULL, " ", &rest);
    snprintf(out, room, "openblas-%s-%s", version ? version : "unknown", openblas_get_corename());
    return out;
}
