/* stand_ins.h: workers that answer without scoring, to find out what a coordinator can carry.
 *
 * Each has a socket of its own and speaks the workers' protocol: HELLO, heartbeats, one RESULT
 * for each SEARCH. They hold no features; the hits are made up, by a rule that says what the
 * merged ranking must be. Up to CLI_STAND_INS_A_THREAD of them share a thread and its loop. */
#ifndef CLI_STAND_INS_H
#define CLI_STAND_INS_H

#include "common/err.h"
#include "common/types.h"

#include <stdint.h>

enum {
    CLI_STAND_IN_K_MAX = 1000,
    CLI_STAND_IN_IMAGES = CLI_STAND_IN_K_MAX, /* of each shard */
    CLI_STAND_INS_A_THREAD = 256,
};

struct cli_stand_ins;

struct cli_stand_in_options {
    const char *endpoint; /* the coordinator's */
    uint32_t workers;
    uint32_t shards; /* that each holds; all together at most CM_SHARDS_MAX */
    struct cm_geometry geometry;
};

/* What they have heard and said so far, of searches alone: bytes of headers and maps. */
struct cli_stand_in_counts {
    uint64_t searches, results, bytes_in, bytes_out;
};

/* Starts them; they dial, and are welcome in their own time. The caller's thread must have the
 * signals blocked that it does not want them to get. Errors: CM_ENOMEM, CM_EIO, CM_EUSAGE. */
enum cm_err cli_stand_ins_start(struct cli_stand_ins **out, const struct cli_stand_in_options *o,
                                struct cm_error *e) __attribute__((warn_unused_result));

/* CM_OK while none has failed. Errors: CM_EREFUSED (the coordinator does not take one in),
 * CM_EUNAVAIL (it lost one, and heard of it again), CM_EIO, CM_EFORMAT (it said what a worker does
 * not understand), CM_ENOMEM. */
enum cm_err cli_stand_ins_check(const struct cli_stand_ins *s, struct cm_error *e);

/* Ends their threads; then no more is counted, and nobody beats. */
void cli_stand_ins_stop(struct cli_stand_ins *s);

/* Stopped, what they did since they were started. */
struct cli_stand_in_counts cli_stand_ins_counts(const struct cli_stand_ins *s);

/* Stops and frees them. NULL is fine. */
void cli_stand_ins_free(struct cli_stand_ins *s);

/* The image at `rank` (from 0, below CLI_STAND_IN_K_MAX) of the whole gallery of `shards` shards,
 * for every query. */
uint64_t cli_stand_in_image(uint32_t shards, uint32_t rank);

#endif
