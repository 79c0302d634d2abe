/* sources.h: the user's feature and label files as one row of images.
 *
 * Features come from files, which are read at any place by any thread, and from streams (pipes,
 * standard input), which are read once and in order: what a stream gives is taken by one thread,
 * and is any thread's after that. */
#ifndef ST_SOURCES_H
#define ST_SOURCES_H

#include "common/err.h"
#include "common/types.h"
#include "proto/file/csv.h"
#include "proto/file/npy.h"

#include <stddef.h>
#include <stdint.h>

/* Several .npy files with one .csv each. Ids count over all of them, in order. */
struct st_sources {
    size_t files;
    struct pr_npy **features; /* [files] */
    const char *const *meta;  /* [files] paths, borrowed */
    enum pr_names names;      /* how the label files name images */
    uint64_t images;
    uint64_t bytes;       /* of all maps as stored */
    uint64_t names_bytes; /* of all names with their NULs */
    size_t taken_bytes;   /* room that st_sources_take needs: 0 without a stream */
    struct pr_csv *csv;   /* the label file that st_sources_next_meta is in */
    size_t csv_file;      /* its index; `files` after the last */
};

/* Opens everything, checks every map's shape against the model and reads every label once, so that
 * a mistake shows before work begins. A named pipe is waited for until it has a writer: one writer
 * cannot fill two of them in turn, as both are opened before the first is read. Release with
 * st_sources_close, also after a failure. Errors: those of the readers; CM_EMISMATCH. */
enum cm_err st_sources_open(struct st_sources *s, const struct cm_geometry *g,
                            const char *const *features, const char *const *meta, size_t files,
                            enum pr_names names, struct cm_error *e)
    __attribute__((warn_unused_result));
void st_sources_close(struct st_sources *s); /* leaves it zeroed; a zeroed one is fine */

/* Takes image `id`, as stored, out of its stream; nothing to do where it comes from a file. To be
 * called for every id in order, by one thread; waits for the stream's writer. Errors: CM_EFORMAT
 * (the stream ends early, or has surplus bytes), CM_EIO. */
enum cm_err st_sources_take(struct st_sources *s, uint64_t id, void *taken, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Image `id`'s map, image_floats of it, from its file or from what st_sources_take put there. Any
 * thread, several at once. Errors: CM_EFORMAT (NaN ...), CM_EIO. */
enum cm_err st_sources_read(const struct st_sources *s, uint64_t id, const void *taken, float *map,
                            struct cm_error *e) __attribute__((warn_unused_result));

/* The labels of the next image, from id 0 on; never more than `images` calls. The name is borrowed
 * until the next call. One thread. */
enum cm_err st_sources_next_meta(struct st_sources *s, struct cm_image_meta *out,
                                 struct cm_error *e) __attribute__((warn_unused_result));

/* "<file>: image <row>" for an id, for errors. Returns `out`. */
char *st_sources_place(const struct st_sources *s, uint64_t id, char *out, size_t room);

#endif
