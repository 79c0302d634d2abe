/* result.c: digests and counts, see cross.h. */
#include "tests/cross/cross.h"

#include "tests/support/random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void add(struct cross_result *r, uint64_t word)
{
    struct test_random mixed = {r->digest ^ word};
    r->digest = test_random_bits(&mixed);
}

void cross_add_bytes(struct cross_result *r, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        add(r, bytes[i]);
}

void cross_add_floats(struct cross_result *r, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = 0x7fc00000;
        if (!isnan(values[i]))
            memcpy(&bits, &values[i], sizeof bits);
        add(r, bits);
    }
}

void cross_add_doubles(struct cross_result *r, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = UINT64_C(0x7ff8000000000000);
        if (!isnan(values[i]))
            memcpy(&bits, &values[i], sizeof bits);
        add(r, bits);
    }
}

uint32_t cross_digest(const struct cross_result *r)
{
    return (uint32_t)(r->digest >> 32);
}

void cross_near(struct cross_result *r, const char *what, size_t size, size_t at, double got,
                double want, double most)
{
    if (fabs(got - want) <= most)
        return;
    if (!r->wrong++)
        snprintf(r->first, sizeof r->first, "%s of %zu, at %zu: %.9g, in double %.9g, by %.3g",
                 what, size, at, got, want, most);
}
