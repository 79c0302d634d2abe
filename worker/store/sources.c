/* sources.c: see sources.h. */
#include "worker/store/sources.h"

#include "common/assert.h"
#include "common/geometry.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads all of one label file, counting. */
static enum cm_err scan_meta(struct st_sources *s, size_t file, struct cm_error *e)
{
    struct pr_csv *csv;
    uint64_t rows = 0, images = s->features[file]->images;
    enum cm_err rc = pr_csv_open(&csv, s->meta[file], s->names, e);
    for (bool end = false; !rc && !end;) {
        struct cm_image_meta meta;
        rc = pr_csv_next(csv, &meta, &end, e);
        if (rc || end)
            break;
        rows++;
        s->names_bytes += strlen(meta.name) + 1;
    }
    pr_csv_close(csv);
    if (!rc && rows != images)
        rc = cm_fail(e, CM_EMISMATCH, "%s has %" PRIu64 " rows, but %s has %" PRIu64 " images",
                     s->meta[file], rows, s->features[file]->input.path, images);
    return rc;
}

static enum cm_err open_features(struct st_sources *s, const struct cm_geometry *g,
                                 const char *path, struct cm_error *e)
{
    struct pr_npy *n;
    enum cm_err rc = pr_npy_open_any(&n, path, e);
    if (rc)
        return rc;
    s->features[s->files++] = n;
    s->images += n->images;
    s->bytes += n->images * n->image_bytes;
    if (n->input.stream && n->image_bytes > s->taken_bytes)
        s->taken_bytes = n->image_bytes;
    return cm_geometry_check_map(g, path, n->height, n->width, n->channels, e);
}

enum cm_err st_sources_open(struct st_sources *s, const struct cm_geometry *g,
                            const char *const *features, const char *const *meta, size_t files,
                            enum pr_names names, struct cm_error *e)
{
    *s = (struct st_sources){.meta = meta, .names = names};
    void *p;
    enum cm_err rc = cm_new(&p, files, sizeof(struct pr_npy *), e);
    s->features = p;
    for (size_t i = 0; !rc && i < files; i++)
        rc = open_features(s, g, features[i], e);
    for (size_t i = 0; !rc && i < files; i++)
        rc = scan_meta(s, i, e);
    return rc;
}

void st_sources_close(struct st_sources *s)
{
    for (size_t i = 0; i < s->files; i++)
        pr_npy_close(s->features[i]);
    free(s->features);
    pr_csv_close(s->csv);
    *s = (struct st_sources){0};
}

/* The file that holds an id; *row becomes the image's number in it. */
static struct pr_npy *file_of(const struct st_sources *s, uint64_t id, uint64_t *row)
{
    size_t i = 0;
    CM_ASSERT(id < s->images);
    for (; id >= s->features[i]->images; i++)
        id -= s->features[i]->images;
    *row = id;
    return s->features[i];
}

enum cm_err st_sources_take(struct st_sources *s, uint64_t id, void *taken, struct cm_error *e)
{
    uint64_t row;
    struct pr_npy *n = file_of(s, id, &row);
    return n->input.stream ? pr_npy_next(n, 1, taken, e) : CM_OK;
}

enum cm_err st_sources_read(const struct st_sources *s, uint64_t id, const void *taken, float *map,
                            struct cm_error *e)
{
    uint64_t row;
    const struct pr_npy *n = file_of(s, id, &row);
    return n->input.stream ? pr_npy_widen(n, row, taken, map, e) : pr_npy_read(n, row, 1, map, e);
}

enum cm_err st_sources_next_meta(struct st_sources *s, struct cm_image_meta *out,
                                 struct cm_error *e)
{
    for (;;) {
        bool end = false;
        CM_ASSERT(s->csv_file < s->files);
        enum cm_err rc = s->csv ? CM_OK : pr_csv_open(&s->csv, s->meta[s->csv_file], s->names, e);
        if (!rc)
            rc = pr_csv_next(s->csv, out, &end, e);
        if (rc || !end)
            return rc;
        pr_csv_close(s->csv);
        s->csv = NULL;
        /* It was counted when the sources were opened: fewer rows now means that it changed. */
        if (++s->csv_file == s->files)
            return cm_fail(e, CM_EMISMATCH, "the label files became shorter while they were read");
    }
}

char *st_sources_place(const struct st_sources *s, uint64_t id, char *out, size_t room)
{
    uint64_t row;
    const struct pr_npy *n = file_of(s, id, &row);
    snprintf(out, room, "%s: image %" PRIu64, n->input.path, row);
    return out;
}
