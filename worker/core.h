/* core.h: what the files of the worker's core share. Not for anybody else. */
#ifndef WK_CORE_H
#define WK_CORE_H

#include "proto/wire/work.h"
#include "worker/search.h"
#include "worker/worker.h"

enum wk_link_state {
    WK_GREETING, /* HELLO goes out again and again */
    WK_READY,    /* welcomed */
    WK_LEAVING,  /* welcomed, and on the way out */
    WK_REFUSED,
};

/* What is to become of one shard of the gallery. */
struct wk_place {
    uint32_t uses; /* by parts that are not answered, and by jobs */
    bool leaving;  /* released when nothing uses it; no search begins on it */
    bool untold;   /* HOLDS is due once we are welcomed */
};

struct wk_core {
    struct wk_config config; /* but for `held` */
    struct wk_io io;
    const struct cm_log *log;
    struct wk_held *held;    /* [gallery.shards] by their numbers */
    struct wk_place *places; /* likewise */
    uint64_t place_epoch;    /* the highest of any PLACE */
    bool fetching;           /* a shard is being fetched */
    uint32_t fetching_shard; /* this one */

    enum wk_link_state link;
    uint64_t heartbeat_ns;  /* as WELCOME says */
    uint64_t dead_after_ns; /* likewise */
    uint64_t heard_ns;      /* when the coordinator was last heard, or dialled */
    uint64_t doubted_ns;    /* when it was first found silent since then; 0: it was not */
    bool released;          /* leaving, and the coordinator has let go of us */
    uint64_t hellos;        /* sent so far */
    uint64_t membership;    /* id of the HELLO with which it began; 0: there was none yet */
    uint64_t speak_ns;      /* when the next HELLO or HEARTBEAT is due */

    struct wk_search *head, *tail; /* searches that are not over, oldest first */
    uint32_t searches_count;
    uint64_t arrivals;     /* searches taken so far */
    uint32_t cursor_shard; /* where the last scoring job read: the next goes on from there */
    uint64_t cursor_block; /* UINT64_MAX: before the first */
    struct wk_job *jobs;   /* [config.jobs] */
    struct wk_job **idle;  /* [idle_count] those not out */
    uint32_t idle_count;

    uint64_t searches_done;
    uint64_t pairs_scored;
    struct pr_work work;
    struct cm_log_rate garbage_rate;
    struct cm_log_rate silence_rate;
};

/* The io's clock. */
static inline uint64_t wk_now(const struct wk_core *w)
{
    return w->io.now_ns(w->io.ctx);
}

/* Is the shard here, to stay? Any number may be asked for. */
static inline bool wk_is_served(const struct wk_core *w, uint32_t shard)
{
    return shard < w->config.gallery.shards && w->held[shard].images > 0 &&
           !w->places[shard].leaving;
}

/* Images in block `b` of a held shard. */
static inline uint64_t wk_block_images(const struct wk_held *h, uint64_t b)
{
    uint64_t left = h->images - b * h->images_per_block;
    return left < h->images_per_block ? left : h->images_per_block;
}

/* link.c: hello, heartbeat, farewell. */
void wk_link_tick(struct wk_core *w);
uint64_t wk_link_wakeup_ns(const struct wk_core *w);
void wk_on_welcome(struct wk_core *w, struct cm_bytes header);
void wk_on_refuse(struct wk_core *w, struct cm_bytes header);
void wk_on_rehello(struct wk_core *w);
/* Sends a packed message and releases it. A failure is no news: silence will tell. */
enum cm_err wk_send_packed(struct wk_core *w, enum cm_err rc, struct pr_buffer *packed,
                           struct cm_error *e);

/* on_place.c: shards come and go. */
void wk_on_place(struct wk_core *w, struct cm_bytes header);
void wk_on_dismiss(struct wk_core *w, struct cm_bytes header);
/* Sends the HOLDS that nobody could be told. */
void wk_tell_places(struct wk_core *w);
/* Something needs a held shard; and no longer. A shard on its way out goes with its last use. */
void wk_use_shard(struct wk_core *w, uint32_t shard);
void wk_unuse_shard(struct wk_core *w, uint32_t shard);
/* Ends the fetch that is on its way, if there is one; what came of it is kept. */
void wk_abandon_fetch(struct wk_core *w);

/* on_search.c: searches come, are cancelled, run out of time. */
void wk_on_search(struct wk_core *w, struct cm_bytes header, struct cm_blob *payload);
void wk_on_cancel(struct wk_core *w, struct cm_query_id id);
/* Takes in what was asked, whose map was checked; on failure every shard of it is declined. Errors:
 * CM_EMISMATCH (a shard that is not here), CM_EBUSY (no credit left), CM_ENOMEM; CM_EEXIST (it came
 * twice: the first goes on, and nothing is declined). */
enum cm_err wk_take(struct wk_core *w, const struct wk_ask *ask, struct cm_blob *map,
                    struct cm_error *e);
/* The search with this id that is not over, or NULL. */
struct wk_search *wk_find_search(const struct wk_core *w, struct cm_query_id id);
void wk_expire_searches(struct wk_core *w);
/* Ends all searches without a word: whoever asked no longer knows us. */
void wk_drop_searches(struct wk_core *w);
/* Unlinks a search; it is freed with its last job. Jobs of it that are out and have not begun with
 * it leave it out. */
void wk_end_search(struct wk_core *w, struct wk_search *s);

/* results.c: a part has all its blocks, or will not get them. One that is whole waits for the next
 * RESULT. Ends the search with its last part. */
void wk_answer_part(struct wk_core *w, struct wk_search *s, struct wk_part *part,
                    enum pr_reason reason);
/* The same of all parts together, none of which has a block. */
void wk_answer_all(struct wk_core *w, struct wk_search *s, enum pr_reason reason);
/* Sends a RESULT for the parts of each search that wait for one, if all do or it is time. May end
 * searches. */
void wk_tell_due(struct wk_core *w);
/* When it is time for a search's parts that wait; UINT64_MAX if none does. */
uint64_t wk_tell_at_ns(const struct wk_core *w, const struct wk_search *s);
/* Answers every open part with what it has, and ends the search: its deadline has come. */
void wk_answer_late(struct wk_core *w, struct wk_search *s);
/* Says at once of every shard asked for that it will not be scored, so that nobody waits for it. */
void wk_decline(struct wk_core *w, const struct wk_ask *ask, enum pr_reason reason);

/* on_measure.c: the two rounds of an evaluation. */
void wk_on_measure(struct wk_core *w, struct cm_bytes header, struct cm_blob *payload);
void wk_on_count(struct wk_core *w, struct cm_bytes header);
/* Sends a part's SCORES, where they are wanted, and its POSITIVES. Errors: CM_EBUSY (not
 * connected); any other: nobody was told. */
enum cm_err wk_send_positives(struct wk_core *w, const struct wk_search *s, struct wk_part *part,
                              enum pr_reason reason, struct cm_error *e);
/* Says that a shard is not scored. */
void wk_decline_measured(struct wk_core *w, struct cm_query_id id, uint32_t shard, uint64_t images,
                         enum pr_reason reason);

/* schedule.c: gives idle jobs work while there is any: never for a search whose time is over. */
void wk_schedule(struct wk_core *w);
/* No job that is out begins with this search any more. */
void wk_leave_out(struct wk_core *w, const struct wk_search *s);
/* Lets go of the searches that a job holds; frees those that are over and held by no other. */
void wk_release_searches(struct wk_job *job);

#endif
