/* ranking.h: how one query's answer is shown: as text, or as one line of JSON. */
#ifndef CLI_RANKING_H
#define CLI_RANKING_H

#include "common/err.h"
#include "common/types.h"
#include "proto/wire/answer.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What is known of a query. */
struct cli_query_label {
    uint64_t index;            /* its row in the features */
    bool known;                /* labels were given */
    struct cm_image_meta meta; /* if known */
};

/* How often the first image that counts was right. */
struct cli_rank1 {
    uint64_t right;
    uint64_t queries; /* that had an image that counts among their hits */
};

/* Is hit `h` of the query's own camera and identity, or junk (pid -1)? Such images do not count in
 * re-identification. */
bool cli_is_junk(const struct cli_query_label *q, const struct pr_hit *h);

/* Adds one answer to the tally. */
void cli_rank1_add(struct cli_rank1 *r, const struct cli_query_label *q, const struct pr_answer *a);

/* Prints a block of text: the query, its coverage, a line a hit. With labels, '+' marks a right
 * hit, '-' a wrong one, 'o' one of the query's own camera and identity. */
void cli_ranking_print(const struct cli_query_label *q, const struct pr_answer *a, FILE *out);

/* Prints the line that `search --json` promises. Errors: CM_ENOMEM, CM_EIO. */
enum cm_err cli_ranking_print_json(const struct cli_query_label *q, const struct pr_answer *a,
                                   struct cm_error *e);

/* "2 (worker_lost), 5 (corrupt)": the shards that are not wholly in the answer, cut to `room`. */
void cli_missing_text(const struct pr_answer *a, char *out, size_t room);

#endif
