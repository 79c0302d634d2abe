/* check_measured.c: MEASURED: the truth, counted pair by pair, or no figures. See checks.h. */
#include "tests/sim/checks.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <string.h>

static bool has_no_figures(const struct pr_measured *m)
{
    static const struct pr_census nobody;
    return m->positives.count == 0 && m->counts.count == 0 && m->overflowed == 0 &&
           memcmp(&m->census, &nobody, sizeof nobody) == 0;
}

static bool is_the_truth(const struct sim *sim, const struct sim_request *r,
                         const struct pr_measured *m)
{
    uint64_t images = sim->plan.gallery.images, overflowed = 0;
    int64_t pid = sim_pid_of(sim, r->number);
    int32_t camid = sim_camid_of(r->number);
    struct cm_hit positives[SIM_IMAGES_MAX];
    struct pr_census census;
    size_t count = fake_positives(r->number, pid, camid, 0, images, &census, positives);
    for (uint64_t i = 0; i < images; i++)
        overflowed += fake_score(r->number, i) > 1e30f;
    bool same = m->positives.count == count && m->overflowed == overflowed &&
                memcmp(&m->census, &census, sizeof census) == 0;
    for (size_t i = 0; i < count && same; i++) {
        struct pr_counts c = fake_counts(r->number, pid, camid, 0, images, &positives[i]);
        same = m->positives.items[i].image == positives[i].image &&
               m->positives.items[i].score == positives[i].score &&
               memcmp(&m->counts.items[i], &c, sizeof c) == 0;
    }
    return same;
}

void sim_check_measured(struct sim *sim, const struct sim_request *r, const struct pr_measured *m)
{
    bool whole = m->missing_count == 0;
    bool holds = m->images == sim->plan.gallery.images && !m->mixed &&
                 (whole ? is_the_truth(sim, r, m) : has_no_figures(m));
    if (!holds)
        sim_fail(sim, "evaluation %" PRIu64 " (%zu right images, %zu shards missing) is not so",
                 r->number, m->positives.count, m->missing_count);
    sim_check_missing(sim, r, m->missing, m->missing_count);
    *(whole ? &sim->sums.measured : &sim->sums.unmeasured) += 1;
}
