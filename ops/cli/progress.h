/* progress.h: how far a long command has come, on a terminal's stderr; silent elsewhere. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* One line that is redrawn in place. */
struct cli_progress {
    const char *unit; /* "images" */
    const char *work; /* what cli_progress_at's third figure counts: "bytes", or "pairs" */
    uint64_t total;
    uint64_t started_ns;
    uint64_t next_ns; /* when the line is drawn next */
    bool on;          /* stderr is a terminal */
};

/* Begins at 0 of `total`; draws nothing yet. The work is bytes, unless the caller says otherwise.
 */
void cli_progress_start(struct cli_progress *p, const char *unit, uint64_t total);

/* Redraws `done/total`, the rate and the time left, a few times a second at the most. `work` done
 * so far gives its own rate (bytes as MB/s); 0 leaves it out. */
void cli_progress_at(struct cli_progress *p, uint64_t done, uint64_t work);

/* Clears the line. */
void cli_progress_end(struct cli_progress *p);

#endif
