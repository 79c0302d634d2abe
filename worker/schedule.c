/* schedule.c: which block is scored next, and for whom. See worker.h for the policy. */
#include "common/assert.h"
#include "worker/core.h"

enum { PATIENCE_SPARED = 8 }; /* one part of so many */

static struct wk_job *take_idle(struct wk_core *w)
{
    struct wk_job *job = w->idle[--w->idle_count];
    job->queries_count = 0;
    job->outcome = CM_OK;
    job->busy_ns = 0;
    return job;
}

static void join(struct wk_job *job, struct wk_search *s)
{
    job->searches[job->queries_count] = s;
    job->queries[job->queries_count] = s->packed;
    job->began_ns[job->queries_count] = 0;
    atomic_store(&job->until_ns[job->queries_count++], s->deadline_ns);
    s->jobs_out++;
}

static struct wk_search *first_in_state(const struct wk_core *w, enum wk_search_state state)
{
    struct wk_search *s = w->head;
    while (s && s->state != state)
        s = s->next;
    return s;
}

static void start_projection(struct wk_core *w, struct wk_search *s)
{
    struct wk_job *job = take_idle(w);
    job->kind = WK_JOB_PROJECT;
    join(job, s);
    job->map = s->map;
    job->dtype = s->dtype;
    job->packed = s->packed;
    s->state = WK_PROJECTING;
    w->io.start(w->io.ctx, job);
}

/* The block that the last job's successor should be: the next one in the same shard, if this search
 * still needs it, so that the disk is read in order. */
static bool follow_cursor(const struct wk_core *w, struct wk_search *s, uint64_t *block)
{
    const struct wk_part *part = wk_search_part(s, w->cursor_shard);
    *block = w->cursor_block + 1;
    return part && *block < w->held[w->cursor_shard].blocks && !part->taken[*block];
}

/* A block that this search needs and nobody has taken for it. False if there is none. */
static bool find_block(struct wk_core *w, struct wk_search *s, uint32_t *shard, uint64_t *block)
{
    if (follow_cursor(w, s, block)) {
        *shard = w->cursor_shard;
        return true;
    }
    for (uint32_t i = 0; i < s->parts_count; i++) {
        struct wk_part *part = &s->parts[i];
        *shard = part->shard;
        *block = wk_part_free_block(part, w->held[part->shard].blocks);
        if (*block != UINT64_MAX)
            return true;
    }
    return false;
}

/* True if `s` is a newcomer to `older`, which still waits for a block. Evaluations are nobody's
 * newcomers: they wait for all searches, and do not mind each other. */
static bool delays(const struct wk_search *s, const struct wk_search *older)
{
    return !s->measure && !older->measure && s->number > older->company && older->images_left > 0;
}

/* True if all whom `images` of `s` would delay have the patience. They are then charged. */
static bool admit(struct wk_core *w, const struct wk_search *s, uint64_t images)
{
    for (const struct wk_search *t = w->head; t != s; t = t->next)
        if (delays(s, t) && t->patience < images)
            return false;
    for (struct wk_search *t = w->head; t != s; t = t->next)
        if (delays(s, t))
            t->patience -= images;
    return true;
}

/* Its first block is handed out: whoever is here now is its company, and of those that come later
 * it bears nearly as much as it and its company have to score. What is missing to as much is for
 * their projections, which nobody counts. */
static void meet_company(const struct wk_core *w, struct wk_search *s)
{
    uint64_t images = s->images;
    for (const struct wk_search *t = w->head; t; t = t->next)
        images += t == s || t->measure ? 0 : t->images_left;
    s->company = w->arrivals;
    s->patience = images - images / PATIENCE_SPARED;
}

static void start_scoring(struct wk_core *w, struct wk_search *oldest, uint32_t shard,
                          uint64_t block)
{
    struct wk_job *job = take_idle(w);
    uint64_t images = wk_block_images(&w->held[shard], block);
    job->kind = WK_JOB_SCORE;
    job->shard = shard;
    job->block = block;
    for (struct wk_search *s = oldest; s && job->queries_count < CM_BATCH_QUERIES_MAX;
         s = s->next) {
        bool joins = s->state == WK_SCORING && s->measure == oldest->measure;
        struct wk_part *part = joins ? wk_search_part(s, shard) : NULL;
        if (!part || part->taken[block] || !admit(w, s, images))
            continue;
        part->taken[block] = 1;
        join(job, s);
        if (!s->scoring_ns) {
            s->scoring_ns = wk_now(w);
            s->queue_us = (s->scoring_ns - s->arrived_ns) / 1000;
            meet_company(w, s);
        }
    }
    CM_ASSERT(job->queries_count > 0);
    for (size_t i = 0; i < job->queries_count; i++) /* not before: they waited for this block */
        job->searches[i]->images_left -= images;
    w->cursor_shard = shard;
    w->cursor_block = block;
    wk_use_shard(w, shard);
    w->io.start(w->io.ctx, job);
}

/* Starts the next block of the oldest search, or of the oldest evaluation. False if none has a
 * block to give. */
static bool schedule_scoring(struct wk_core *w, bool measure)
{
    for (struct wk_search *s = w->head; s; s = s->next) {
        uint32_t shard;
        uint64_t block;
        if (s->state == WK_SCORING && s->measure == measure && find_block(w, s, &shard, &block)) {
            start_scoring(w, s, shard, block);
            return true;
        }
    }
    return false;
}

void wk_schedule(struct wk_core *w)
{
    wk_expire_searches(w);
    while (w->idle_count > 0) {
        struct wk_search *queued = first_in_state(w, WK_QUEUED);
        if (queued)
            start_projection(w, queued);
        else if (!schedule_scoring(w, false) && !schedule_scoring(w, true))
            return; /* evaluations come after all that somebody waits for */
    }
}

/* Its time was over before the job came to it: then wk_schedule ends it next. */
static bool was_left_out(const struct wk_job *job, size_t query)
{
    return !job->outcome && job->began_ns[query] == 0;
}

static void finish_projection(struct wk_core *w, struct wk_job *job)
{
    struct wk_search *s = job->searches[0];
    if (s->state == WK_OVER || was_left_out(job, 0))
        return;
    s->project_us = job->busy_ns / 1000;
    s->state = WK_SCORING;
    cm_blob_unref(&s->map);
    if (job->outcome)
        wk_answer_all(w, s, PR_REASON_INTERNAL);
}

static void count_block(struct wk_core *w, const struct wk_job *job, size_t query)
{
    const struct wk_search *s = job->searches[query];
    uint64_t began_ns = job->began_ns[query];
    uint64_t over_ns = s->state == WK_OVER ? s->over_ns : UINT64_MAX;
    if (job->outcome || began_ns == 0)
        return;
    w->work.blocks_scored++;
    w->work.blocks_late += began_ns > over_ns || began_ns > s->deadline_ns;
}

static void finish_block(struct wk_core *w, const struct wk_job *job, size_t query)
{
    struct wk_search *s = job->searches[query];
    count_block(w, job, query);
    if (s->state == WK_OVER || was_left_out(job, query))
        return;
    const struct wk_held *held = &w->held[job->shard];
    struct wk_part *part = wk_search_part(s, job->shard);
    uint64_t images = wk_block_images(held, job->block);
    part->blocks_left--;
    if (job->outcome) {
        part->corrupt = true;
    } else {
        wk_part_add(part, s->measure, job->scores[query], images, held->first_image,
                    job->block * held->images_per_block);
        w->pairs_scored += images;
    }
    if (part->blocks_left == 0)
        wk_answer_part(w, s, part, part->corrupt ? PR_REASON_CORRUPT : PR_REASON_NONE);
}

void wk_leave_out(struct wk_core *w, const struct wk_search *s)
{
    for (uint32_t i = 0; s->jobs_out > 0 && i < w->config.jobs; i++)
        for (size_t q = 0; q < w->jobs[i].queries_count; q++)
            if (w->jobs[i].searches[q] == s)
                atomic_store(&w->jobs[i].until_ns[q], 0);
}

void wk_release_searches(struct wk_job *job)
{
    for (size_t i = 0; i < job->queries_count; i++) {
        struct wk_search *s = job->searches[i];
        if (--s->jobs_out == 0 && s->state == WK_OVER)
            wk_search_free(s);
    }
    job->queries_count = 0;
}

void wk_on_job_done(struct wk_core *w, struct wk_job *job)
{
    if (job->kind == WK_JOB_PROJECT)
        finish_projection(w, job);
    for (size_t i = 0; job->kind == WK_JOB_SCORE && i < job->queries_count; i++)
        finish_block(w, job, i);
    wk_tell_due(w);
    wk_release_searches(job);
    if (job->kind == WK_JOB_SCORE)
        wk_unuse_shard(w, job->shard);
    w->idle[w->idle_count++] = job;
    wk_schedule(w);
}
