/* Every half there is, against the definition. */
#include "common/half.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* IEEE 754 binary16, as its definition reads. Not for NaN. */
static double value_of(unsigned half)
{
    int exponent = (int)(half >> 10 & 31u), fraction = (int)(half & 1023u);
    double magnitude = exponent == 31  ? INFINITY
                       : exponent == 0 ? ldexp(fraction, -24)
                                       : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000u ? -magnitude : magnitude;
}

Test(half, every_half_has_its_value)
{
    size_t nans = 0;
    for (unsigned half = 0; half <= 0xffff; half++) {
        float got = cm_float_of_half((uint16_t)half);
        if ((half & 0x7c00u) == 0x7c00u && (half & 1023u) != 0) {
            cr_assert(isnan(got), "%04x", half);
            nans++;
        } else {
            cr_assert((double)got == value_of(half), "%04x gives %a", half, (double)got);
        }
        cr_assert_eq(signbit(got) != 0, half >> 15, "%04x has the sign of %a", half, (double)got);
    }
    cr_assert_eq(nans, 2046);
}

Test(half, an_array_is_its_elements_at_any_alignment)
{
    static const unsigned char bytes[] = {0xee, 0x00, 0x3c, 0x00, 0xc0, 0x01,
                                          0x00, 0x00, 0x80, 0xff, 0x7b};
    static const float want[] = {1.0f, -2.0f, 0x1p-24f, -0.0f, 65504.0f};
    float got[5];
    cm_floats_of_halves(bytes + 1, got, 5);
    cr_assert_eq(memcmp(got, want, sizeof want), 0);
    memset(got, 0x55, sizeof got);
    cm_floats_of_halves(bytes + 1, got, 2);
    cr_assert(got[0] == 1.0f && got[1] == -2.0f);
    unsigned char rest[3 * sizeof(float)];
    memset(rest, 0x55, sizeof rest);
    cr_assert_eq(memcmp(got + 2, rest, sizeof rest), 0, "no more than asked is written");
}
