/* journal.h: what an evaluation has found so far, on disk, so that a stopped one can go on.
 *
 * A text file: a first line that says of which evaluation, then a line of JSON for each query done,
 * in the order in which they were done. A line that a kill cut off is passed over. One process at a
 * time has it. Main thread only. */
#ifndef CLI_JOURNAL_H
#define CLI_JOURNAL_H

#include "common/err.h"
#include "common/types.h"
#include "proto/wire/measured.h"

#include <stdbool.h>
#include <stdint.h>

struct cli_journal;

/* What makes two evaluations the same. */
struct cli_journal_key {
    struct cm_fingerprint gallery;
    const char *numeric_class; /* of the workers; they are all of one */
    uint64_t queries;
    uint32_t labels_crc32c; /* of the queries' pids and camids */
};

/* One query's record. */
struct cli_journal_record {
    uint64_t query;
    uint32_t map_crc32c; /* of the map as it was sent */
    bool has_scores;     /* its row of the matrix of scores was written, and had this sum */
    uint32_t scores_crc32c;
    struct pr_measured measured; /* id, epoch and timings but total_us are not kept */
};

/* Opens `path`. With `resume` it must be the journal of an evaluation of this key, and each of its
 * records is given to `found`, whose failure ends it. Without, it is made, or a journal without
 * records taken; anything else that is there is left alone. Errors: CM_ENOENT (nothing to resume),
 * CM_EEXIST (a journal with records, or a file that is none, and no `resume`), CM_EMISMATCH (of
 * another evaluation), CM_EFORMAT (no journal), CM_EBUSY (another process has it), CM_EIO,
 * CM_ENOSPC, CM_ENOMEM. */
enum cm_err cli_journal_open(
    struct cli_journal **out, const char *path, const struct cli_journal_key *key, bool resume,
    enum cm_err (*found)(void *ctx, const struct cli_journal_record *record, struct cm_error *e),
    void *ctx, struct cm_error *e) __attribute__((warn_unused_result));

/* Appends a record, which the kernel has when this returns: it outlives a kill of the process.
 * Errors: CM_EIO, CM_ENOSPC, CM_ENOMEM. */
enum cm_err cli_journal_add(struct cli_journal *j, const struct cli_journal_record *record,
                            struct cm_error *e) __attribute__((warn_unused_result));

/* Closes it. `done`: and removes the file. NULL is fine. */
void cli_journal_close(struct cli_journal *j, bool done);

#endif
