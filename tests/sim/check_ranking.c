/* check_ranking.c: RESULT and ANSWER: what they cover, and the best k of it. See checks.h. */
#include "common/assert.h"
#include "proto/wire/result.h"
#include "tests/sim/checks.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* A ranking, by image. */
struct index {
    uint64_t number;          /* of the query */
    const struct cm_hit *end; /* the last of k hits: what ranks after it is not there; or NULL */
    size_t rank[SIM_IMAGES_MAX];
    const struct pr_hits *hits;
};

static float score_of(uint64_t number, uint64_t image)
{
    float score = fake_score(number, image);
    return isfinite(score) ? score : -INFINITY;
}

/* False if a hit is no image of the gallery, or a second one on the same. */
static bool make_index(const struct sim *sim, struct index *x, uint64_t number,
                       const struct pr_hits *hits, size_t k)
{
    *x = (struct index){.number = number, .hits = hits};
    x->end = hits->count == k ? &hits->items[k - 1].hit : NULL;
    for (size_t i = 0; i < SIM_IMAGES_MAX; i++)
        x->rank[i] = SIZE_MAX;
    for (size_t i = 0; i < hits->count; i++) {
        uint64_t image = hits->items[i].hit.image;
        if (image >= sim->plan.gallery.images || x->rank[image] != SIZE_MAX)
            return false;
        x->rank[image] = i;
    }
    return true;
}

static bool is_labelled(const struct pr_hit *hit)
{
    char name[FAKE_NAME_BYTES];
    struct cm_image_meta m = fake_meta(hit->hit.image, name);
    return m.pid == hit->meta.pid && m.camid == hit->meta.camid &&
           m.timestamp == hit->meta.timestamp && strcmp(name, hit->meta.name) == 0;
}

/* Are the hits in this shard those that a ranking of `images`, a bit each, has there? */
static bool agrees(const struct sim *sim, const struct index *x, uint32_t shard, uint64_t images)
{
    const struct wk_held *h = &sim->plan.shards[shard];
    for (uint64_t i = 0; i < h->images; i++) {
        struct cm_hit hit = {score_of(x->number, h->first_image + i), h->first_image + i};
        size_t rank = x->rank[hit.image];
        bool expected = (images >> i & 1) && (!x->end || !cm_hit_before(x->end, &hit));
        if (expected != (rank != SIZE_MAX))
            return false;
        if (expected &&
            (x->hits->items[rank].hit.score != hit.score || !is_labelled(&x->hits->items[rank])))
            return false;
    }
    return true;
}

static uint64_t count_overflowed(const struct sim *sim, uint64_t number, uint32_t shard,
                                 uint64_t images)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < sim->plan.shards[shard].images; i++)
        count += (images >> i & 1) &&
                 !isfinite(fake_score(number, sim->plan.shards[shard].first_image + i));
    return count;
}

static uint64_t count_bits(uint64_t bits)
{
    return (uint64_t)__builtin_popcountll(bits);
}

/* --- RESULT ----------------------------------------------------------------------------------- */

/* Is one shard of a result as the threads scored it? */
static bool is_true_shard(const struct sim *sim, const struct pr_result *r,
                          const struct pr_scored *shard, const struct index *x, uint64_t images)
{
    uint32_t s = shard->shard.v;
    uint64_t whole = sim_plan_whole(&sim->plan, s);
    bool empty = shard->images_scored == 0;
    return count_bits(images) == shard->images_scored && agrees(sim, x, s, images) &&
           shard->overflowed == count_overflowed(sim, x->number, s, images) &&
           (shard->images == count_bits(whole) || (empty && shard->images == 0)) &&
           (r->reason == PR_REASON_NONE) == (images == whole);
}

/* Is it what these threads scored for this search, in these shards and no others? */
static bool is_true_result(const struct sim *sim, const struct pr_result *r,
                           const struct sim_scored *scored)
{
    struct index x;
    uint64_t all = 0;
    if (!make_index(sim, &x, scored->number, &r->hits, scored->k))
        return false;
    for (size_t i = 0; i < r->shards_count; i++) {
        const struct pr_scored *shard = &r->shards[i];
        if (!is_true_shard(sim, r, shard, &x, scored->images[shard->shard.v]))
            return false;
        all += shard->images_scored;
    }
    return r->hits.count == (all < scored->k ? all : scored->k);
}

static void check_result(struct sim *sim, const struct sim_worker *w, struct sim_message *m)
{
    struct pr_result result;
    struct cm_error e;
    CM_ASSERT(pr_result_unpack(m->header, &result, &e) == CM_OK);
    struct sim_scored nothing = {.id = result.id.v, .k = 1};
    const struct sim_scored *found = is_true_result(sim, &result, &nothing) ? &nothing : NULL;
    for (unsigned i = 0; i < SIM_SCORED_MAX && !found; i++)
        if (w->scored[i].search && w->scored[i].id == result.id.v &&
            is_true_result(sim, &result, &w->scored[i]))
            found = &w->scored[i];
    if (!found)
        sim_fail(sim,
                 "%s sends a RESULT for shard %u and %zu others of search %" PRIu64 " over %" PRIu64
                 " images there with %zu hits, which is not what it scored",
                 w->host.name, result.shards[0].shard.v, result.shards_count - 1, result.id.v,
                 result.shards[0].images_scored, result.hits.count);
    else
        m->scored = found->images[result.shards[0].shard.v];
    pr_result_fini(&result);
}

void sim_check_worker_sent(struct sim *sim, const struct sim_worker *w, struct sim_message *m)
{
    if (m->envelope.type == PR_RESULT)
        check_result(sim, w, m);
}

/* --- ANSWER ----------------------------------------------------------------------------------- */

/* How many scores may have overflowed so far: a bit each. RESULTs of several workers for one shard
 * can look alike in an answer's hits and differ in this. */
struct sums {
    bool may[SIM_IMAGES_MAX + 1];
};

static void add_to_sums(struct sums *to, const struct sums *from, uint64_t overflowed)
{
    for (uint64_t i = 0; i + overflowed <= SIM_IMAGES_MAX; i++)
        to->may[i + overflowed] |= from->may[i];
}

/* Adds what each RESULT for a shard says that has so many images and these hits. False if none did
 * come. */
static bool find_results(const struct sim *sim, const struct index *x, uint32_t shard,
                         uint64_t images_scored, struct sums *sums)
{
    struct sums before = *sums;
    bool found = false;
    if (images_scored == 0)
        return agrees(sim, x, shard, 0);
    *sums = (struct sums){{false}};
    for (unsigned i = 0; i < sim->ledger.asks_count; i++) {
        const struct sim_ask *ask = &sim->ledger.asks[i];
        for (unsigned r = 0; ask->number == x->number && r < ask->results_count[shard]; r++) {
            uint64_t images = ask->results[shard][r];
            if (count_bits(images) != images_scored || !agrees(sim, x, shard, images))
                continue;
            add_to_sums(sums, &before, count_overflowed(sim, x->number, shard, images));
            found = true;
        }
    }
    return found;
}

/* What an answer says of a shard: NULL if it is whole. */
static const struct pr_missing_shard *missing_of(const struct pr_answer *a, uint32_t shard)
{
    for (size_t i = 0; i < a->missing_count; i++)
        if (a->missing[i].shard.v == shard)
            return &a->missing[i];
    return NULL;
}

/* Is each shard as some RESULT has it, and are the sums right? On failure *shard is where it is
 * not; the number of shards where the sums are wrong. */
static bool is_what_came(const struct sim *sim, const struct pr_answer *a, const struct index *x,
                         uint32_t *shard)
{
    uint64_t scored = 0;
    struct sums overflowed = {{true}};
    for (*shard = 0; *shard < sim->plan.gallery.shards; ++*shard) {
        const struct pr_missing_shard *m = missing_of(a, *shard);
        uint64_t whole = sim->plan.shards[*shard].images;
        uint64_t claimed = m ? m->images_scored : whole;
        if ((m && m->images != whole && m->images != 0) ||
            !find_results(sim, x, *shard, claimed, &overflowed))
            return false;
        scored += claimed;
    }
    return a->images_scored == scored && a->images == sim->plan.gallery.images &&
           a->overflowed <= SIM_IMAGES_MAX && overflowed.may[a->overflowed];
}

void sim_check_answer(struct sim *sim, const struct sim_request *r, const struct pr_answer *a)
{
    struct index x;
    uint32_t shard = 0;
    size_t expected = r->k < a->images_scored ? r->k : a->images_scored;
    if (!make_index(sim, &x, r->number, &a->hits, r->k) || a->hits.count != expected || a->mixed ||
        !is_what_came(sim, a, &x, &shard))
        sim_fail(sim,
                 "the answer to query %" PRIu64 " (k %u, %" PRIu64
                 " images scored, %zu hits) is not the best of what was scored, as shard %u shows",
                 r->number, r->k, a->images_scored, a->hits.count, shard);
    sim_check_missing(sim, r, a->missing, a->missing_count);
    *(a->missing_count ? &sim->sums.partial : &sim->sums.whole) += 1;
}
