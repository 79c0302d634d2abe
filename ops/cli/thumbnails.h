/* thumbnails.h: pictures in a page that needs no other file: small image files are embedded whole,
 * what is too large is linked, what is not there leaves a box with its name. */
#ifndef CLI_THUMBNAILS_H
#define CLI_THUMBNAILS_H

#include "common/err.h"

#include <stdint.h>
#include <stdio.h>

enum {
    CLI_THUMBNAIL_BYTES_MAX = 512 << 10, /* of one file that is embedded */
    CLI_THUMBNAILS_BYTES_MAX = 24 << 20, /* of all of them; a third more as base64 */
};

/* What became of the pictures that were asked for; they add up. */
struct cli_thumbnail_counts {
    uint64_t embedded;
    uint64_t linked;  /* larger than the limits: a link is there instead */
    uint64_t missing; /* no such file in the folder, or none that is an image */
};

/* Zero-initialise; open, put, close. */
struct cli_thumbnails {
    char *images, *page; /* both folders' paths, without links; images NULL: there are none */
    uint64_t bytes;      /* embedded so far */
    struct cli_thumbnail_counts counts;
};

/* `images`: the folder that names are paths in, or NULL; `page`: the folder that the page will
 * stand in, from which links lead. Errors: those of cm_fail_errno, naming the folder. */
enum cm_err cli_thumbnails_open(struct cli_thumbnails *t, const char *images, const char *page,
                                struct cm_error *e) __attribute__((warn_unused_result));

/* Prints the HTML for the image of this name, counting. Without a folder nothing is counted. Only
 * JPEG, PNG, GIF, WebP and BMP are embedded, by their first bytes; a name with ".." counts as
 * missing. */
void cli_thumbnail_put(struct cli_thumbnails *t, const char *name, FILE *out);

/* Frees; one that is zeroed or failed to open is fine. */
void cli_thumbnails_close(struct cli_thumbnails *t);

#endif
