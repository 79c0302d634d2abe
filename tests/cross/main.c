/* main.c: every kernel of the table that this processor runs, see cross.h. Prints a line for each:
 * its digests, and below it what is wrong; ~ stands before a digest that is compared with nothing.
 * Ends in "N passed, N failed", a stage of a kernel being one; exits 0 when none failed. */
#include "tests/cross/cross.h"

#include "common/geometry.h"
#include "worker/score/kernels/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The digests of each class, on every machine; 0 where the processor has a say. They change when a
 * class's order of sums does, which no change should do unawares: scores of galleries in use would
 * change with it. They change with the inputs too: then what is printed goes here. */
static const struct {
    const char *numeric_class;
    uint32_t digests[CROSS_STAGES];
} expected[] = {
    {"f32/fma", {0xbfdb3127, 0x381c3b09, 0x636384c0, 0x13556f73, 0xe475d3d8}},
    {"f32/plain", {0x391b488a, 0xd3f94865, 0x95e12bed, 0x160b0b3c, 0x3ed45aba}},
    {"bf16/fma", {0xbfdb3127, 0x8e13f1c7, 0x3717e0b7, 0x13556f73, 0xa23a7126}},
    {"bf16/dp", {0xbfdb3127, 0x8e13f1c7, 0, 0x13556f73, 0}},
    {"int8", {0xbfdb3127, 0x1ab66a2c, 0x2cfbf00f, 0x13556f73, 0xeffb31af}},
};
static const uint32_t expected_fold = 0x0f467594;

static const char *const stage_names[CROSS_STAGES] = {"project", "pack", "product", "head",
                                                      "score"};

/* Tests so far. */
struct count {
    size_t passed, failed;
};

static const uint32_t *expected_of(const char *numeric_class)
{
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (strcmp(expected[i].numeric_class, numeric_class) == 0)
            return expected[i].digests;
    return NULL;
}

/* Says what is wrong with a stage, if anything, and counts it. `want` 0: any bits. */
static void judge(const char *name, const struct cross_result *r, uint32_t want, struct count *n)
{
    bool other = want && cross_digest(r) != want;
    if (other)
        printf("    %s: other bits: their digest is %08x, not %08x\n", name, cross_digest(r), want);
    if (r->wrong)
        printf("    %s: %zu values are wrong, the first: %s\n", name, r->wrong, r->first);
    if (other || r->wrong)
        n->failed++;
    else
        n->passed++;
}

static void run_kernel(const struct sc_kernel *k, struct count *n)
{
    struct cross_result results[CROSS_STAGES] = {{0}};
    const uint32_t *want = expected_of(k->numeric_class);
    printf("%-5s %-10s %-9s", cm_precision_name(k->precision), k->name, k->numeric_class);
    if (!k->supported()) {
        printf("  not on this processor\n");
        return;
    }
    cross_project(k, &results[CROSS_PROJECT]);
    cross_pairs(k, &results[CROSS_PACK], &results[CROSS_SCORE]);
    cross_product(k, &results[CROSS_PRODUCT]);
    cross_head(k, &results[CROSS_HEAD]);
    for (size_t s = 0; s < CROSS_STAGES; s++)
        printf(" %c%08x", want && want[s] ? ' ' : '~', cross_digest(&results[s]));
    printf("\n");
    for (size_t s = 0; s < CROSS_STAGES; s++)
        judge(stage_names[s], &results[s], want ? want[s] : 0, n);
    if (!want) {
        printf("    the class is not among those expected in tests/cross/main.c\n");
        n->failed++;
    }
}

int main(void)
{
    struct count n = {0, 0};
    struct cross_result fold = {0};
    printf("%-26s", "kernel and class");
    for (size_t s = 0; s < CROSS_STAGES; s++)
        printf("  %8s", stage_names[s]);
    printf("\n");
    for (size_t i = 0; sc_kernel_at(i); i++)
        run_kernel(sc_kernel_at(i), &n);
    cross_fold(&fold);
    printf("%-26s  %08x\n", "folded weights", cross_digest(&fold));
    judge("fold", &fold, expected_fold, &n);
    printf("%zu passed, %zu failed\n", n.passed, n.failed);
    return n.failed ? 1 : 0;
}
