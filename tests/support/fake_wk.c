/* fake_wk.c: see fake_wk.h. */
#include "tests/support/fake_wk.h"

#include "common/checksum.h"
#include "proto/wire/control.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/welcome.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- the io ----------------------------------------------------------------------------------- */

static enum cm_err send(void *ctx, struct cm_bytes header, struct cm_blob *payload,
                        struct cm_error *e)
{
    struct fake_wk *f = ctx;
    if (f->send_fails)
        return cm_fail(e, f->send_fails, "the coordinator does not listen");
    test_mailbox_put(&f->sent, NULL, header, payload);
    return CM_OK;
}

static void reconnect(void *ctx)
{
    ((struct fake_wk *)ctx)->reconnects++;
}

static void start(void *ctx, struct wk_job *job)
{
    struct fake_wk *f = ctx;
    cr_assert(job->index < f->jobs_max);
    for (size_t i = 0; i < f->jobs_out; i++)
        cr_assert(f->jobs[i] != job, "job %u is out twice", job->index);
    cr_assert(f->jobs_out < f->jobs_max, "more than %u jobs are out", f->jobs_max);
    cr_assert(job->queries_count >= 1 && job->queries_count <= CM_BATCH_QUERIES_MAX);
    f->jobs[f->jobs_out++] = job;
}

static struct cm_image_meta meta(void *ctx, uint32_t shard, uint64_t i)
{
    struct fake_wk *f = ctx;
    cr_assert(shard < FAKE_WK_SHARDS_MAX && i < f->held[shard].images);
    uint64_t image = f->held[shard].first_image + i;
    struct cm_image_meta m = fake_meta(image, f->names[image]);
    if (f->one_name)
        m.name = f->one_name;
    return m;
}

static void refused(void *ctx, enum pr_refusal reason, const char *text)
{
    struct fake_wk *f = ctx;
    cr_assert(text[0] != '\0');
    f->refusals++;
    f->refusal = reason;
}

static void dismissed(void *ctx)
{
    ((struct fake_wk *)ctx)->dismissals++;
}

static void fetch(void *ctx, uint32_t shard, const struct pr_sources *sources)
{
    struct fake_wk *f = ctx;
    cr_assert(!f->fetching, "two fetches at a time");
    cr_assert(f->held[shard].images == 0, "shard %u is fetched although it is here", shard);
    f->fetching = true;
    f->fetching_shard = shard;
    f->sources = *sources;
    f->fetches++;
}

static void abandon(void *ctx, bool forget)
{
    struct fake_wk *f = ctx;
    cr_assert(f->fetching, "nothing is being fetched");
    f->fetching = false;
    f->abandoned++;
    f->forgotten += forget;
}

static void release_shard(void *ctx, uint32_t shard)
{
    struct fake_wk *f = ctx;
    cr_assert(f->held[shard].images > 0, "shard %u is not here", shard);
    for (size_t i = 0; i < f->jobs_out; i++)
        cr_assert(f->jobs[i]->kind != WK_JOB_SCORE || f->jobs[i]->shard != shard,
                  "shard %u is released under a job", shard);
    f->held[shard].images = 0;
    f->released[f->releases++ % FAKE_WK_SHARDS_MAX] = shard;
}

static const char *endpoint(void *ctx)
{
    (void)ctx;
    return FAKE_WK_ENDPOINT;
}

static uint64_t memory_bytes(void *ctx)
{
    (void)ctx;
    return FAKE_WK_MEMORY_BYTES;
}

static uint64_t now_ns(void *ctx)
{
    return *((struct fake_wk *)ctx)->clock_ns;
}

/* --- its life --------------------------------------------------------------------------------- */

struct fake_wk_options fake_wk_defaults(void)
{
    return (struct fake_wk_options){
        .node = "w0",
        .incarnation = 1,
        .gallery = fake_gallery(FAKE_SHARDS, FAKE_SHARD_IMAGES),
        .shards = FAKE_SHARDS,
        .images_per_block = 4,
        .jobs = 2,
        .credits = CM_WORKER_CREDITS,
    };
}

/* Shard number `i` of the gallery. */
static struct wk_held shard_of(const struct pr_gallery_info *g, uint32_t i,
                               uint32_t images_per_block)
{
    uint64_t images = g->images / g->shards;
    return (struct wk_held){
        .shard = i,
        .first_image = i * images,
        .images = images,
        .blocks = (images + images_per_block - 1) / images_per_block,
        .images_per_block = images_per_block,
    };
}

void fake_wk_init(struct fake_wk *f, const struct fake_wk_options *o, uint64_t *clock_ns)
{
    struct cm_error e;
    *f = (struct fake_wk){.own_ns = UINT64_C(9000000000),
                          .gallery = o->gallery,
                          .images_per_block = o->images_per_block,
                          .jobs_max = o->jobs};
    f->clock_ns = clock_ns ? clock_ns : &f->own_ns;
    cr_assert(o->first_shard + o->shards <= FAKE_WK_SHARDS_MAX && o->jobs <= FAKE_WK_JOBS_MAX &&
              o->gallery.shards <= FAKE_WK_SHARDS_MAX && o->gallery.images <= FAKE_WK_IMAGES_MAX);
    for (uint32_t i = o->first_shard; i < o->first_shard + o->shards; i++)
        f->held[i] = shard_of(&o->gallery, i, o->images_per_block);
    const struct wk_config config = {
        .node = o->node,
        .incarnation = o->incarnation,
        .gallery = o->gallery,
        .numeric_class = "f32/fake",
        .threads = 1,
        .jobs = o->jobs,
        .credits = o->credits,
        .result_every_ns = o->result_every_ns,
        .packed_bytes = FAKE_PACKED_BYTES,
        .placed = o->placed,
        .held = &f->held[o->first_shard],
        .held_count = o->shards,
    };
    const struct wk_io io = {
        .ctx = f,
        .send = send,
        .reconnect = reconnect,
        .start = start,
        .meta = meta,
        .fetch = fetch,
        .abandon = abandon,
        .release = release_shard,
        .endpoint = endpoint,
        .memory_bytes = memory_bytes,
        .refused = refused,
        .dismissed = dismissed,
        .now_ns = now_ns,
    };
    cr_assert_eq(wk_new(&f->core, &config, &io, NULL, &e), CM_OK, "%s", e.text);
}

void fake_wk_init_ready(struct fake_wk *f, const struct fake_wk_options *o)
{
    fake_wk_init(f, o, NULL);
    wk_on_tick(f->core);
    fake_wk_take(f, PR_HELLO);
    fake_wk_welcome(f, 1000, 5000);
}

void fake_wk_fini(struct fake_wk *f)
{
    wk_free(f->core);
    test_mailbox_clear(&f->sent);
}

void fake_wk_sleep(struct fake_wk *f, uint64_t ns)
{
    uint64_t end_ns = *f->clock_ns + ns;
    for (uint64_t next; (next = wk_next_wakeup_ns(f->core)) <= end_ns;) {
        if (next > *f->clock_ns)
            *f->clock_ns = next;
        wk_on_tick(f->core);
        cr_assert(wk_next_wakeup_ns(f->core) > *f->clock_ns, "a tick left work for this moment");
    }
    *f->clock_ns = end_ns;
}

/* --- what comes in ---------------------------------------------------------------------------- */

static void get(struct fake_wk *f, enum cm_err rc, struct pr_buffer *packed, struct cm_blob *map)
{
    cr_assert_eq(rc, CM_OK, "the test's own message is bad");
    wk_on_message(f->core, pr_buffer_bytes(packed), map);
    pr_buffer_fini(packed);
}

void fake_wk_control(struct fake_wk *f, uint32_t type, uint64_t id)
{
    struct pr_control control = {.type = type, .id = {id}};
    struct pr_buffer packed;
    get(f, pr_control_pack(&control, &packed, NULL), &packed, NULL);
}

void fake_wk_heartbeat(struct fake_wk *f)
{
    struct pr_heartbeat heartbeat = {0};
    struct pr_buffer packed;
    get(f, pr_heartbeat_pack(&heartbeat, &packed, NULL), &packed, NULL);
}

void fake_wk_welcome(struct fake_wk *f, uint32_t heartbeat_ms, uint32_t dead_after_ms)
{
    struct pr_welcome welcome = {.heartbeat_ms = heartbeat_ms, .dead_after_ms = dead_after_ms};
    struct pr_buffer packed;
    get(f, pr_welcome_pack(&welcome, &packed, NULL), &packed, NULL);
}

void fake_wk_search_as(struct fake_wk *f, const struct pr_search *search, struct cm_blob *map)
{
    struct pr_buffer packed;
    get(f, pr_search_pack(search, &packed, NULL), &packed, map);
}

void fake_wk_search(struct fake_wk *f, uint64_t query, uint32_t k, uint64_t time_left_us,
                    uint32_t first, uint32_t count)
{
    struct cm_shard_id shards[FAKE_WK_SHARDS_MAX];
    struct cm_blob *map = fake_map(query);
    for (uint32_t i = 0; i < count; i++)
        shards[i] = (struct cm_shard_id){first + i};
    struct pr_search search = {
        .id = {query},
        .k = k,
        .time_left_us = time_left_us,
        .dtype = CM_DTYPE_F32,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(map), cm_blob_size(map)),
        .shards = shards,
        .shards_count = count,
    };
    fake_wk_search_as(f, &search, map);
    cm_blob_unref(&map);
}

void fake_wk_measure_as(struct fake_wk *f, const struct pr_measure *measure, struct cm_blob *map)
{
    struct pr_buffer packed;
    get(f, pr_measure_pack(measure, &packed, NULL), &packed, map);
}

void fake_wk_measure(struct fake_wk *f, uint64_t query, int64_t pid, int32_t camid,
                     bool want_scores, uint32_t first, uint32_t count)
{
    struct cm_shard_id shards[FAKE_WK_SHARDS_MAX];
    struct cm_blob *map = fake_map(query);
    for (uint32_t i = 0; i < count; i++)
        shards[i] = (struct cm_shard_id){first + i};
    struct pr_measure measure = {
        .id = {query},
        .pid = pid,
        .camid = camid,
        .want_scores = want_scores,
        .dtype = CM_DTYPE_F32,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(map), cm_blob_size(map)),
        .shards = shards,
        .shards_count = count,
    };
    fake_wk_measure_as(f, &measure, map);
    cm_blob_unref(&map);
}

void fake_wk_count(struct fake_wk *f, uint64_t query, const struct pr_positives *positives)
{
    struct pr_count count = {.id = {query}, .positives = *positives};
    struct pr_buffer packed;
    get(f, pr_count_pack(&count, &packed, NULL), &packed, NULL);
}

/* --- shards that come and go ------------------------------------------------------------------ */

void fake_wk_place(struct fake_wk *f, uint64_t epoch, uint32_t shard, uint32_t sources)
{
    struct pr_place place = {.epoch = epoch, .shard = {shard}, .sources = {.count = sources}};
    struct pr_buffer packed;
    for (uint32_t i = 0; i < sources; i++)
        snprintf(place.sources.endpoints[i], sizeof place.sources.endpoints[i], "ipc://source-%u",
                 i);
    get(f, pr_place_pack(&place, &packed, NULL), &packed, NULL);
}

void fake_wk_fetched(struct fake_wk *f)
{
    cr_assert(f->fetching);
    f->fetching = false;
    f->held[f->fetching_shard] = shard_of(&f->gallery, f->fetching_shard, f->images_per_block);
    wk_on_fetched(f->core, &f->held[f->fetching_shard]);
}

void fake_wk_fetch_failed(struct fake_wk *f, const char *why)
{
    cr_assert(f->fetching);
    f->fetching = false;
    wk_on_fetch_failed(f->core, why);
}

/* --- jobs ------------------------------------------------------------------------------------- */

/* Takes job `i` back from the "threads". */
static struct wk_job *take_job(struct fake_wk *f, size_t i)
{
    cr_assert(i < f->jobs_out, "only %zu jobs are out", f->jobs_out);
    struct wk_job *job = f->jobs[i];
    memmove(&f->jobs[i], &f->jobs[i + 1], (f->jobs_out - i - 1) * sizeof f->jobs[0]);
    f->jobs_out--;
    return job;
}

void fake_wk_begin(struct fake_wk *f, size_t i)
{
    struct wk_job *job = f->jobs[i];
    cr_assert(i < f->jobs_out, "only %zu jobs are out", f->jobs_out);
    for (size_t q = 0; q < job->queries_count; q++)
        if (job->began_ns[q] == 0 && *f->clock_ns < atomic_load(&job->until_ns[q]))
            job->began_ns[q] = *f->clock_ns;
}

static void score(const struct fake_wk *f, struct wk_job *job)
{
    const struct wk_held *h = &f->held[job->shard];
    cr_assert(job->block < h->blocks);
    uint64_t first = job->block * h->images_per_block, left = h->images - first;
    uint64_t count = left < h->images_per_block ? left : h->images_per_block;
    for (size_t q = 0; q < job->queries_count; q++) {
        float query;
        if (job->began_ns[q] == 0)
            continue;
        memcpy(&query, job->queries[q], sizeof query);
        for (uint64_t i = 0; i < count; i++)
            job->scores[q][i] = fake_score((uint64_t)query, h->first_image + first + i);
    }
}

void fake_wk_finish(struct fake_wk *f, size_t i)
{
    fake_wk_begin(f, i);
    struct wk_job *job = take_job(f, i);
    if (job->kind == WK_JOB_PROJECT)
        memcpy(job->packed, cm_blob_data(job->map), sizeof(float)); /* which query it is */
    else
        score(f, job);
    job->busy_ns = 1000000;
    wk_on_job_done(f->core, job);
}

void fake_wk_finish_projection(struct fake_wk *f)
{
    cr_assert(f->jobs_out > 0);
    cr_assert_eq(f->jobs[0]->kind, WK_JOB_PROJECT);
    fake_wk_finish(f, 0);
}

void fake_wk_finish_block(struct fake_wk *f, uint32_t shard, uint64_t block)
{
    size_t i = 0;
    while (i < f->jobs_out && (f->jobs[i]->kind != WK_JOB_SCORE || f->jobs[i]->shard != shard ||
                               f->jobs[i]->block != block))
        i++;
    cr_assert(i < f->jobs_out, "no job is at block %" PRIu64 " of shard %u", block, shard);
    fake_wk_finish(f, i);
}

void fake_wk_fail(struct fake_wk *f, size_t i, enum cm_err outcome)
{
    struct wk_job *job = take_job(f, i);
    job->outcome = outcome;
    for (size_t s = 0; s < CM_BLOCK_IMAGES_MAX; s++)
        job->scores[0][s] = NAN;
    wk_on_job_done(f->core, job);
}

void fake_wk_finish_all(struct fake_wk *f)
{
    while (f->jobs_out > 0)
        fake_wk_finish(f, 0);
}

/* --- what goes out ---------------------------------------------------------------------------- */

struct pr_envelope fake_wk_take(struct fake_wk *f, uint32_t type)
{
    struct test_message *m = test_mailbox_take(&f->sent, "", type);
    struct pr_envelope envelope = m->envelope;
    test_message_free(m);
    return envelope;
}

struct pr_result fake_wk_take_result(struct fake_wk *f)
{
    struct test_message *m = test_mailbox_take(&f->sent, "", PR_RESULT);
    struct pr_result result;
    struct cm_error e;
    cr_assert_eq(pr_result_unpack(m->header, &result, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return result;
}

struct pr_holds fake_wk_take_holds(struct fake_wk *f)
{
    struct test_message *m = test_mailbox_take(&f->sent, "", PR_HOLDS);
    struct pr_holds holds;
    struct cm_error e;
    cr_assert_eq(pr_holds_unpack(m->header, &holds, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return holds;
}

struct pr_work fake_wk_work(struct fake_wk *f)
{
    struct pr_heartbeat heartbeat = {0};
    struct cm_error e;
    while (test_mailbox_count(&f->sent, NULL, PR_HEARTBEAT) == 0)
        fake_wk_sleep(f, wk_next_wakeup_ns(f->core) - *f->clock_ns);
    struct test_message *m = test_mailbox_take(&f->sent, "", PR_HEARTBEAT);
    cr_assert_eq(pr_heartbeat_unpack(m->header, &heartbeat, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return heartbeat.work;
}

struct pr_positives_message fake_wk_take_positives(struct fake_wk *f)
{
    struct test_message *m = test_mailbox_take(&f->sent, "", PR_POSITIVES);
    struct pr_positives_message message;
    struct cm_error e;
    cr_assert_eq(pr_positives_unpack(m->header, &message, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return message;
}

struct pr_counts_message fake_wk_take_counts(struct fake_wk *f)
{
    struct test_message *m = test_mailbox_take(&f->sent, "", PR_COUNTS);
    struct pr_counts_message message;
    struct cm_error e;
    cr_assert_eq(pr_counts_unpack(m->header, &message, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return message;
}
