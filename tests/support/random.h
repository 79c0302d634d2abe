/* random.h: numbers that look random and are the same in every run (splitmix64). */
#ifndef TEST_RANDOM_H
#define TEST_RANDOM_H

#include <stdint.h>

/* A stream of numbers; begin with any seed. */
struct test_random {
    uint64_t state;
};

/* The next 64 bits. */
static inline uint64_t test_random_bits(struct test_random *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A whole number in [0, end). */
static inline uint64_t test_random_below(struct test_random *r, uint64_t end)
{
    return test_random_bits(r) % end;
}

/* A float in [least, most), one of 2^24. Each step is rounded by itself: the same on every machine.
 */
static inline float test_random_float(struct test_random *r, float least, float most)
{
    float part = (float)(test_random_bits(r) >> 40) * 0x1p-24f, width = most - least;
    float above = width * part;
    return least + above;
}

#endif
