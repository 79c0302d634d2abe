/* gather.h: one query or evaluation from admission to answer: a slot a shard, bounded memory.
 *
 *      WAITING --dispatch--> OPEN --all slots closed, or deadline--> answered and freed
 *
 * Each shard's slot closes by the result of a member that is asked, or by a reason why there is
 * none. A query's slot may be asked of a second member while the first has not answered: the first
 * answer closes it, whosever it is. A slot all of whose members were lost, or declined, is homeless
 * until another member that holds the shard is asked. Each asking has another search id: an answer
 * of one who is not asked any more is refused. So is a second answer for a closed slot, unless it
 * is whole and the first was not: then it takes the first one's place, whose hits go. So no image
 * can count twice. Hits are merged as they come: never more than k are held. An
 * evaluation has no deadline, and a second round after its slots have closed: evaluation.h. Pure;
 * loop thread only. */
#ifndef CO_GATHER_H
#define CO_GATHER_H

#include "common/blob.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/types.h"
#include "proto/wire/answer.h"
#include "proto/wire/evaluate.h"
#include "proto/wire/query.h"
#include "proto/wire/result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One worker's share of a query: a SEARCH that it was sent. */
struct co_part {
    uint32_t member;
    uint32_t attempt; /* the search's id is the gather's and this */
    uint32_t open;    /* slots it has not answered yet; in an evaluation one more, for its counts */
    bool beaten;      /* another has answered some of them first: it may be at those still */
    bool settled;     /* it owed nothing any more once, and was timed */
    bool gone;        /* its member is, and another may have its number */
    uint64_t images;  /* in what it was asked, less those that it has left out */
    uint64_t images_left; /* in its open slots; it may be at others still that it was beaten to */
    uint64_t sent_ns;
};

/* One shard's place in a query. */
struct co_slot {
    bool closed;
    bool homeless;         /* open, and nobody is asked */
    uint32_t part;         /* who was asked; CO_NO_PART for nobody */
    uint32_t second;       /* who was asked too, while that one is at it; CO_NO_PART for nobody */
    bool hedged;           /* the second was for its being late, and counts as a hedge */
    uint32_t avoid;        /* the member that failed last; CO_NO_MEMBER for none */
    enum pr_reason reason; /* closed: why not whole; homeless: why it will not be, if it stays so */
    uint64_t images_scored;
    uint64_t overflowed; /* of a query: of those, in g->overflowed too */
    uint64_t first_image, images;
};

enum { CO_NO_PART = UINT32_MAX };

/* Times that members are asked, the first counted in; and search ids that a gather has. */
enum { CO_ATTEMPTS_MAX = 16 };

struct co_evaluation;

struct co_gather {
    struct co_gather *next, *prev; /* in the list of those waiting or of those open */
    struct cm_query_id id;         /* the coordinator's own: that of the first attempt */
    struct cm_peer client;
    struct cm_query_id client_id; /* the client's number for it */
    uint32_t k;
    enum cm_dtype dtype;
    uint32_t payload_crc32c;
    struct cm_blob *payload; /* the query's map, shared with the transport */
    uint64_t deadline_after_ns;
    uint64_t arrived_ns;
    uint64_t dispatched_ns; /* 0 while waiting */
    uint64_t deadline_ns;   /* counted from its arrival; UINT64_MAX of an evaluation */
    uint64_t look_ns;       /* when a slot may be late; UINT64_MAX: none will be */
    uint64_t turn;          /* while it waits: admission.c */

    struct co_slot *slots; /* [slots_count], one for each shard of the gallery */
    uint32_t slots_count;
    uint32_t slots_open;
    uint32_t homeless;     /* of those */
    struct co_part *parts; /* [parts_count], at most one a member and attempt */
    uint32_t parts_count, parts_room;
    uint32_t attempts;                /* made so far */
    struct co_evaluation *evaluation; /* NULL: it is a query */
    struct pr_hit *hits;              /* [hits_count], best first; names are owned */
    size_t hits_count;
    uint64_t overflowed;
    char numeric_class[CM_CLASS_BYTES_MAX + 1]; /* of the first result */
    bool mixed;                                 /* results came from more than one class */
    struct pr_answer_timings timings;           /* filled in as stages end */
};

/* A gather for an admitted query: consumes nothing, takes its own reference to `payload`.
 * Errors: CM_ENOMEM. */
enum cm_err co_gather_new(struct co_gather **out, const struct pr_query *query,
                          const struct cm_peer *client, struct cm_blob *payload, uint64_t now_ns,
                          struct cm_error *e) __attribute__((warn_unused_result));
/* The same for an evaluation. */
enum cm_err co_gather_new_evaluation(struct co_gather **out, const struct pr_evaluate *evaluate,
                                     const struct cm_peer *client, struct cm_blob *payload,
                                     uint64_t now_ns, struct cm_error *e)
    __attribute__((warn_unused_result));
void co_gather_free(struct co_gather *g); /* NULL is fine */

/* Opens it with one slot for each shard, all of them homeless. Errors: CM_ENOMEM (still waiting
 * then). */
enum cm_err co_gather_open(struct co_gather *g, uint32_t shards, uint64_t now_ns,
                           struct cm_error *e) __attribute__((warn_unused_result));

/* A share of the attempt that is being made, for a member that has none in it. Errors: CM_ENOMEM.
 */
enum cm_err co_gather_add_part(struct co_gather *g, uint32_t member, uint32_t *part,
                               struct cm_error *e) __attribute__((warn_unused_result));

/* Notes that `shard` is asked of part `part`: homeless, of it alone; else of it too. */
void co_gather_assign(struct co_gather *g, uint32_t shard, uint32_t part);

/* Takes an open slot away from a part that was asked (`avoid` is for the next time). It is homeless
 * then, unless another part was asked too. In an evaluation a member without slots owes no counts
 * either. */
void co_gather_orphan(struct co_gather *g, uint32_t shard, uint32_t part, enum pr_reason reason,
                      uint32_t avoid);

/* Is the shard asked of that part? */
static inline bool co_slot_is_of(const struct co_slot *s, uint32_t part)
{
    return s->part == part || s->second == part;
}

/* Is the image in the shard? */
static inline bool co_slot_has(const struct co_slot *s, uint64_t image)
{
    return image - s->first_image < s->images;
}

/* The part of `member` of which a shard is asked, or CO_NO_PART; and the other one, likewise. */
uint32_t co_gather_part_of(const struct co_gather *g, uint32_t shard, uint32_t member);
uint32_t co_gather_rival_of(const struct co_gather *g, uint32_t shard, uint32_t part);

/* Orphans every open slot of a member that is gone. An evaluation for which it still owed its
 * counts fails with its slots, and so does one that passes scores on, since those of a shard must
 * come once. */
void co_gather_lose(struct co_gather *g, uint32_t member);

/* Fails an evaluation for want of what this part still owes; its member may be told to stop. */
void co_gather_fail_part(struct co_gather *g, uint32_t part, enum pr_reason reason);

/* May members be asked for homeless slots once more? */
bool co_gather_may_retry(const struct co_gather *g);
/* May second members be asked? Queries only, and half of the attempts are left for retries. */
bool co_gather_may_hedge(const struct co_gather *g);

/* Closes an open slot without a result. Closed already: nothing happens. */
void co_gather_close_slot(struct co_gather *g, uint32_t shard, enum pr_reason reason);

/* Forgets a query's answer for a closed slot, which is to get a better one. */
void co_gather_reopen_slot(struct co_gather *g, uint32_t shard);

/* The search id of a part. */
static inline struct cm_query_id co_part_id(const struct co_gather *g, uint32_t part)
{
    return (struct cm_query_id){g->id.v + g->parts[part].attempt};
}

/* Merges a result's hits and closes its shards' slots, all of which are open (there may be none).
 * Its numbers were checked against the shard map, and its sender by co_gather_check_sender. Errors:
 * CM_ENOMEM (the slots close as PR_REASON_INTERNAL). */
enum cm_err co_gather_on_result(struct co_gather *g, const char *numeric_class,
                                const struct pr_result *result, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Is there nothing more to wait for? An evaluation is over as soon as one slot closes badly. */
bool co_gather_is_over(const struct co_gather *g);

/* Takes note of the numeric class in which some of it was computed. */
void co_gather_note_class(struct co_gather *g, const char *numeric_class);

/* Is this member's message about search `id` what an open slot waits for? Errors: CM_EMISMATCH
 * (another member was asked), CM_EEXIST (it was, but the slot is closed). */
enum cm_err co_gather_check_sender(const struct co_gather *g, uint32_t shard, uint32_t member,
                                   struct cm_query_id id, struct cm_error *e);

/* The shards that are not wholly in the answer, ascending; the caller frees *out. Errors:
 * CM_ENOMEM.
 */
enum cm_err co_gather_missing(const struct co_gather *g, struct pr_missing_shard **out,
                              size_t *count, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The answer as it stands, over a gallery of `images`. `out` borrows from the gather, but for
 * out->missing, which the caller frees. Errors: CM_ENOMEM. */
enum cm_err co_gather_answer(const struct co_gather *g, uint64_t images, struct pr_answer *out,
                             struct cm_error *e) __attribute__((warn_unused_result));

#endif
