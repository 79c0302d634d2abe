/* fake_gallery.c: see fake_gallery.h. */
#include "tests/support/fake_gallery.h"

#include "common/assert.h"
#include "tests/support/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct pr_gallery_info fake_gallery(uint32_t shards, uint64_t shard_images)
{
    return (struct pr_gallery_info){
        .gallery = {{0x6a}},
        .model = {{0x3b}},
        .geometry = {.matcher = CM_TRANSMATCHER,
                     .height = 2,
                     .width = 1,
                     .channels = 2,
                     .layers = 1,
                     .ff = 1},
        .precision = CM_F32,
        .images = shards * shard_images,
        .shards = shards,
    };
}

void fake_hello(struct pr_hello *hello, struct pr_held_shard *held, const char *node,
                const struct pr_gallery_info *g, uint32_t first, uint32_t count)
{
    uint64_t images = g->images / g->shards;
    *hello = (struct pr_hello){
        .incarnation = 1,
        .version_min = PR_VERSION,
        .version_max = PR_VERSION,
        .gallery = *g,
        .numeric_class = "f32/fake",
        .threads = 2,
        .credits = CM_WORKER_CREDITS,
        .held = held,
        .held_count = count,
    };
    snprintf(hello->node, sizeof hello->node, "%s", node);
    for (uint32_t i = 0; i < count; i++)
        held[i] = (struct pr_held_shard){{first + i}, (first + i) * images, images};
}

struct cm_blob *fake_map(uint64_t query)
{
    const float map[FAKE_MAP_FLOATS] = {(float)query, 1.0f, -2.5f, 0.0f};
    struct cm_blob *blob;
    struct cm_error e;
    CM_ASSERT(cm_blob_copy(&blob, map, sizeof map, &e) == CM_OK);
    return blob;
}

float fake_score(uint64_t query, uint64_t image)
{
    struct test_random random = {query * 1000003 + image};
    uint64_t v = test_random_below(&random, 64);
    return v == 63 ? INFINITY : (float)v / 4.0f - 5.0f;
}

struct cm_image_meta fake_meta(uint64_t image, char name[FAKE_NAME_BYTES])
{
    snprintf(name, FAKE_NAME_BYTES, "image-%" PRIu64, image);
    return (struct cm_image_meta){
        .pid = (int64_t)(image / 3), .timestamp = -1, .camid = (int32_t)(image % 5), .name = name};
}

static float finite_score(uint64_t query, uint64_t image)
{
    float score = fake_score(query, image);
    return isfinite(score) ? score : -INFINITY;
}

static int compare(const void *a, const void *b)
{
    const struct cm_hit *x = a, *y = b;
    return cm_hit_before(x, y) ? -1 : cm_hit_before(y, x);
}

size_t fake_ranking(uint64_t query, const unsigned char *covered, uint64_t images, size_t k,
                    struct cm_hit *out)
{
    struct cm_hit *all = calloc(images, sizeof *all);
    size_t count = 0;
    CM_ASSERT(all != NULL);
    for (uint64_t i = 0; i < images; i++) {
        float score = fake_score(query, i);
        if (covered[i])
            all[count++] = (struct cm_hit){isfinite(score) ? score : -INFINITY, i};
    }
    qsort(all, count, sizeof *all, compare);
    size_t kept = count < k ? count : k;
    for (size_t i = 0; i < kept; i++)
        out[i] = all[i];
    free(all);
    return kept;
}

/* Labels alone. */
static bool is_valid(int64_t pid, int32_t camid, uint64_t image)
{
    char name[FAKE_NAME_BYTES];
    struct cm_image_meta m = fake_meta(image, name);
    return m.pid != -1 && !(m.pid == pid && m.camid == camid);
}

size_t fake_positives(uint64_t query, int64_t pid, int32_t camid, uint64_t first, uint64_t count,
                      struct pr_census *census, struct cm_hit *out)
{
    size_t found = 0;
    *census = (struct pr_census){0};
    for (uint64_t i = first; i < first + count; i++) {
        char name[FAKE_NAME_BYTES];
        struct cm_image_meta m = fake_meta(i, name);
        bool valid = is_valid(pid, camid, i);
        census->valid += valid;
        census->junk += m.pid == -1;
        census->same_camera += m.pid == pid && m.camid == camid;
        census->distractors += m.pid == 0;
        if (valid && m.pid == pid)
            out[found++] = (struct cm_hit){finite_score(query, i), i};
    }
    qsort(out, found, sizeof *out, compare);
    return found;
}

struct pr_counts fake_counts(uint64_t query, int64_t pid, int32_t camid, uint64_t first,
                             uint64_t count, const struct cm_hit *positive)
{
    struct pr_counts c = {0};
    for (uint64_t i = first; i < first + count; i++) {
        float score = finite_score(query, i);
        if (!is_valid(pid, camid, i))
            continue;
        c.higher += score > positive->score;
        c.equal += score == positive->score;
        c.equal_lower += score == positive->score && i < positive->image;
    }
    return c;
}
