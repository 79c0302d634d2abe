/* pairs.h: every query against every gallery image, in one process and one thread: the whole matrix
 * of scores, held in memory. For small sets. Main thread only. */
#ifndef CLI_PAIRS_H
#define CLI_PAIRS_H

#include "common/err.h"
#include "common/types.h"
#include "proto/file/npy.h"
#include "worker/score/scorer.h"

#include <stddef.h>

/* Open files and buffers. Zero-initialise; read the first four, leave the rest alone. */
struct cli_pairs {
    struct sc_model *model;
    struct pr_npy *query, *gallery;
    float *scores; /* [query images][gallery images], filled by cli_pairs_score */
    struct sc_scratch *scratch;
    float *map;    /* one raw map */
    void *queries; /* all queries, packed */
    void *block;   /* some gallery images, packed */
    size_t stride;
};

/* Opens model and maps, and checks that they fit each other. Close in any case. Errors, which name
 * the file: CM_EMISMATCH, and those of st_read_model and pr_npy_open. */
enum cm_err cli_pairs_open(struct cli_pairs *p, const char *model, const char *query,
                           const char *gallery, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Makes the buffers for one precision, in place of those of another. Errors: CM_EUSAGE
 * (VITRINE_KERNEL), CM_ENOMEM; then only close. */
enum cm_err cli_pairs_set_precision(struct cli_pairs *p, enum cm_precision precision,
                                    struct cm_error *e) __attribute__((warn_unused_result));

/* Scores all pairs, showing progress. Errors: those of pr_npy_read and sc_pack. */
enum cm_err cli_pairs_score(struct cli_pairs *p, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Frees everything; one that is zeroed or failed to open is fine. */
void cli_pairs_close(struct cli_pairs *p);

#endif
