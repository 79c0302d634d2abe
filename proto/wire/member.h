/* member.h: one worker as the coordinator sees it, a row of STATUS. Pure; any thread. */
#ifndef PR_MEMBER_H
#define PR_MEMBER_H

#include "common/err.h"
#include "common/limits.h"
#include "proto/wire/work.h"

#include <stdbool.h>
#include <stdint.h>

/* Numbers of the wire: never used again for something else. */
#define PR_MEMBER_STATE_MAP(X)                                              \
    X(READY, 1, "ready")                                                    \
    X(LEAVING, 2, "leaving")   /* finishes what it has and takes no more */ \
    X(DRAINING, 3, "draining") /* serves, and hands its shards over */      \
    X(AWAY, 4, "away")         /* shards are placed on it, but it is not here */

enum pr_member_state {
#define PR_MEMBER_STATE_ENUM(name, number, text) PR_MEMBER_##name = (number),
    PR_MEMBER_STATE_MAP(PR_MEMBER_STATE_ENUM)
#undef PR_MEMBER_STATE_ENUM
};

struct pr_member {
    char node[CM_NODE_BYTES_MAX + 1];
    uint64_t incarnation;
    enum pr_member_state state;
    char numeric_class[CM_CLASS_BYTES_MAX + 1]; /* "-" of one that is away */
    uint32_t threads; /* this and the next at least 1, but 0 of one that is away */
    uint32_t credits;
    uint32_t inflight;      /* searches it has now */
    uint32_t shards;        /* that it holds, at most CM_SHARDS_MAX */
    uint64_t images;        /* in them, at most CM_IMAGES_MAX */
    uint64_t searches_done; /* this and the next as its last HEARTBEAT said */
    uint64_t pairs_scored;
    uint64_t silent_ms; /* since its last word */
    bool placed;        /* the coordinator says what it holds */
    uint32_t assigned;  /* shards that it is to hold; of a placed one */
    uint32_t moving;    /* of those, the ones that it does not hold yet */
    uint32_t queued;    /* this and the next as its last HEARTBEAT said */
    uint64_t memory_bytes;
    bool slow; /* late, or silent for two heartbeats: queries pass it over where they can */
    struct pr_work work; /* likewise */
};

/* The short text of a state ("ready"); NULL for a number that is none. Static storage. */
const char *pr_member_state_name(enum pr_member_state state);

/* --- for the messages of this folder --- */

struct pr_fields;
struct pr_writer;

/* Errors: CM_EFORMAT, CM_ELIMIT. */
enum cm_err pr_member_check(const struct pr_member *m, struct cm_error *e);

/* Writes it as a map. */
void pr_member_write(struct pr_writer *w, const struct pr_member *m);

/* Reads the fields of one such map, unchecked. */
void pr_member_read(struct pr_fields *f, struct pr_member *m);

#endif
