/* blas.c: a planted fault, see tests/tidy/run. */
#include <cblas.h>
#include <immintrin.h>
