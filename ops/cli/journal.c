/* journal.c: see journal.h. */
#include "ops/cli/journal.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/io/file.h"
#include "common/limits.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOURNAL_VERSION = 1, LINE_BYTES_MAX = 16 << 20, POSITIVE_VALUES = 5 };

struct cli_journal {
    int fd;
    char *path;
    uint64_t bytes; /* of whole lines; the next one goes behind them */
};

/* --- lines ------------------------------------------------------------------------------------ */

static json_t *key_json(const struct cli_journal_key *key)
{
    char gallery[CM_FINGERPRINT_TEXT_BYTES];
    return json_pack("{s:i, s:s, s:s, s:I, s:I}", "vitrine_eval", JOURNAL_VERSION, "gallery",
                     cm_fingerprint_text(&key->gallery, gallery), "class", key->numeric_class,
                     "queries", (json_int_t)key->queries, "labels", (json_int_t)key->labels_crc32c);
}

/* Minus infinity is no number of JSON's: null. */
static json_t *score_json(float score)
{
    return isinf(score) ? json_null() : json_real((double)score);
}

static json_t *positives_json(const struct pr_measured *m)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < m->positives.count; i++) {
        const struct pr_counts *c = &m->counts.items[i];
        json_array_append_new(
            list, json_pack("[I, o, I, I, I]", (json_int_t)m->positives.items[i].image,
                            score_json(m->positives.items[i].score), (json_int_t)c->higher,
                            (json_int_t)c->equal_lower, (json_int_t)c->equal));
    }
    return list;
}

static json_t *record_json(const struct cli_journal_record *r)
{
    const struct pr_measured *m = &r->measured;
    json_t *scores = r->has_scores ? json_integer((json_int_t)r->scores_crc32c) : json_null();
    return json_pack("{s:I, s:I, s:o, s:I, s:I, s:[I, I, I, I], s:I, s:b, s:I, s:I, s:o}", "query",
                     (json_int_t)r->query, "map", (json_int_t)r->map_crc32c, "scores", scores,
                     "images", (json_int_t)m->images, "shards", (json_int_t)m->shards, "census",
                     (json_int_t)m->census.valid, (json_int_t)m->census.same_camera,
                     (json_int_t)m->census.junk, (json_int_t)m->census.distractors, "overflowed",
                     (json_int_t)m->overflowed, "mixed", (int)m->mixed, "total_us",
                     (json_int_t)m->total_us, "worker_bytes", (json_int_t)m->worker_bytes,
                     "positives", positives_json(m));
}

/* Writes a line and drops `root`. */
static enum cm_err write_line(struct cli_journal *j, json_t *root, struct cm_error *e)
{
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text)
        return cm_fail(e, CM_ENOMEM, "%s: no memory for a line", j->path);
    size_t size = strlen(text);
    text[size] = '\n'; /* in place of the NUL: a line goes out in one write */
    enum cm_err rc = io_file_write_all(j->fd, j->path, j->bytes, text, size + 1, e);
    free(text);
    if (!rc)
        j->bytes += size + 1;
    return rc;
}

/* --- reading ---------------------------------------------------------------------------------- */

static enum cm_err read_positives(const json_t *list, struct pr_measured *m, struct cm_error *e)
{
    size_t count = json_array_size(list);
    void *positives, *counts = NULL;
    if (count > CM_POSITIVES_MAX)
        return cm_fail(e, CM_EFORMAT, "%zu positives", count);
    enum cm_err rc = cm_new(&positives, count, sizeof *m->positives.items, e);
    if (!rc)
        rc = cm_new(&counts, count, sizeof *m->counts.items, e);
    m->positives = (struct pr_positives){.items = positives, .count = rc ? 0 : count};
    m->counts = (struct pr_counts_list){.items = counts, .count = rc ? 0 : count};
    for (size_t i = 0; !rc && i < count; i++) {
        json_int_t image, higher, equal_lower, equal;
        json_t *score;
        if (json_unpack(json_array_get(list, i), "[I, o, I, I, I!]", &image, &score, &higher,
                        &equal_lower, &equal) != 0)
            return cm_fail(e, CM_EFORMAT, "a positive that is none");
        float value = json_is_null(score) ? -INFINITY : (float)json_number_value(score);
        m->positives.items[i] = (struct cm_hit){value, (uint64_t)image};
        m->counts.items[i] =
            (struct pr_counts){(uint64_t)higher, (uint64_t)equal_lower, (uint64_t)equal};
    }
    return rc;
}

/* What a record says must be what the coordinator could have said: the message's own check. */
static enum cm_err check_record(const struct pr_measured *m, struct cm_error *e)
{
    struct pr_buffer packed;
    enum cm_err rc = pr_measured_pack(m, &packed, e);
    pr_buffer_fini(&packed);
    return rc;
}

static enum cm_err read_record(const json_t *root, struct cli_journal_record *r, struct cm_error *e)
{
    struct pr_measured *m = &r->measured;
    json_int_t query, map, images, shards, census[4], overflowed, total_us, worker_bytes;
    int mixed;
    json_t *positives, *scores;
    *r = (struct cli_journal_record){0};
    if (json_unpack((json_t *)(uintptr_t)root,
                    "{s:I, s:I, s:o, s:I, s:I, s:[I, I, I, I!], s:I, s:b, s:I, s:I, s:o}", "query",
                    &query, "map", &map, "scores", &scores, "images", &images, "shards", &shards,
                    "census", &census[0], &census[1], &census[2], &census[3], "overflowed",
                    &overflowed, "mixed", &mixed, "total_us", &total_us, "worker_bytes",
                    &worker_bytes, "positives", &positives) != 0)
        return cm_fail(e, CM_EFORMAT, "no record");
    r->query = (uint64_t)query;
    r->map_crc32c = (uint32_t)map;
    r->has_scores = json_is_integer(scores);
    r->scores_crc32c = (uint32_t)json_integer_value(scores);
    m->images = (uint64_t)images;
    m->shards = (uint32_t)shards;
    m->census = (struct pr_census){(uint64_t)census[0], (uint64_t)census[1], (uint64_t)census[2],
                                   (uint64_t)census[3]};
    m->overflowed = (uint64_t)overflowed;
    m->mixed = mixed;
    m->total_us = (uint64_t)total_us;
    m->worker_bytes = (uint64_t)worker_bytes;
    enum cm_err rc = read_positives(positives, m, e);
    return rc ? rc : check_record(m, e);
}

struct scan {
    const struct cli_journal_key *key;
    enum cm_err (*found)(void *ctx, const struct cli_journal_record *record, struct cm_error *e);
    void *ctx;
    uint64_t line; /* from 1 */
};

static enum cm_err check_key(const struct scan *s, json_t *root, struct cm_error *e)
{
    json_t *ours = key_json(s->key);
    if (!ours)
        return cm_fail(e, CM_ENOMEM, "no memory for the journal's first line");
    bool same = json_equal(ours, root) == 1;
    bool any = json_object_get(root, "vitrine_eval") != NULL;
    json_decref(ours);
    if (same)
        return CM_OK;
    return any ? cm_fail(e, CM_EMISMATCH,
                         "is of another evaluation (gallery, numeric class, or queries differ)")
               : cm_fail(e, CM_EFORMAT, "is no journal of 'vitrine eval'");
}

static enum cm_err take_line(struct scan *s, const char *text, size_t size, struct cm_error *e)
{
    struct cli_journal_record record;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    enum cm_err rc = root ? CM_OK : cm_fail(e, CM_EFORMAT, "is no JSON");
    s->line++;
    if (!rc && s->line == 1) {
        rc = check_key(s, root, e);
    } else if (!rc) {
        rc = read_record(root, &record, e);
        if (!rc)
            rc = s->found(s->ctx, &record, e);
        pr_measured_fini(&record.measured);
    }
    json_decref(root);
    return rc ? cm_wrap(e, rc, "line %" PRIu64, s->line) : CM_OK;
}

/* Reads every whole line. */
static enum cm_err scan_lines(struct cli_journal *j, struct scan *s, struct cm_error *e)
{
    char *line = NULL;
    size_t room = 0;
    int fd = dup(j->fd);
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!f)
        return cm_fail_errno(e, errno, "cannot read it");
    enum cm_err rc = CM_OK;
    for (ssize_t n; !rc && (n = getline(&line, &room, f)) > 0;) {
        if (line[n - 1] != '\n' || n > LINE_BYTES_MAX)
            break; /* the last, cut off by a kill; what is written next covers it */
        rc = take_line(s, line, (size_t)n - 1, e);
        j->bytes += (uint64_t)n;
    }
    free(line);
    fclose(f);
    if (!rc && s->line == 0)
        rc = cm_fail(e, CM_EFORMAT, "holds nothing to resume");
    if (!rc && ftruncate(j->fd, (off_t)j->bytes) != 0)
        rc = cm_fail_errno(e, errno, "cannot cut it");
    return rc;
}

/* --- life ------------------------------------------------------------------------------------- */

/* The whole lines of the file, and whether the first one is a journal's. */
static enum cm_err look(const struct cli_journal *j, bool *is_journal, uint64_t *lines,
                        struct cm_error *e)
{
    static const char mark[] = "{\"vitrine_eval\":";
    char bytes[4096];
    *is_journal = false;
    *lines = 0;
    for (off_t at = 0;;) {
        ssize_t n = pread(j->fd, bytes, sizeof bytes, at);
        if (n < 0)
            return cm_fail_errno(e, errno, "cannot read %s", j->path);
        if (n == 0)
            return CM_OK;
        if (at == 0)
            *is_journal = (size_t)n >= sizeof mark - 1 && memcmp(bytes, mark, sizeof mark - 1) == 0;
        for (ssize_t i = 0; i < n; i++)
            *lines += bytes[i] == '\n';
        at += n;
    }
}

/* A new journal takes no other file's place. */
static enum cm_err check_unused(const struct cli_journal *j, struct cm_error *e)
{
    struct stat st;
    bool is_journal;
    uint64_t lines;
    if (fstat(j->fd, &st) != 0)
        return cm_fail_errno(e, errno, "%s", j->path);
    if (!S_ISREG(st.st_mode))
        return cm_fail(e, CM_EUSAGE, "%s is no regular file: name another --journal", j->path);
    enum cm_err rc = look(j, &is_journal, &lines, e);
    if (rc || st.st_size == 0 || (is_journal && lines <= 1))
        return rc;
    if (!is_journal)
        return cm_fail(e, CM_EEXIST, "%s is there, and is no journal: name another --journal",
                       j->path);
    return cm_fail(e, CM_EEXIST,
                   "%s holds %" PRIu64
                   " queries of an evaluation that was stopped: go on with it with --resume, or "
                   "remove it to begin anew",
                   j->path, lines - 1);
}

static enum cm_err lock(const struct cli_journal *j, struct cm_error *e)
{
    struct stat st;
    /* A file without a name is one that its evaluation has just finished with. */
    if (flock(j->fd, LOCK_EX | LOCK_NB) != 0 || (fstat(j->fd, &st) == 0 && st.st_nlink == 0))
        return cm_fail(e, CM_EBUSY, "%s: another evaluation is writing it", j->path);
    return CM_OK;
}

static enum cm_err open_file(struct cli_journal *j, bool resume, struct cm_error *e)
{
    j->fd = open(j->path, O_RDWR | O_CLOEXEC | (resume ? 0 : O_CREAT), 0666);
    if (j->fd < 0 && resume && errno == ENOENT)
        return cm_fail(e, CM_ENOENT, "%s is not there: no evaluation to resume", j->path);
    if (j->fd < 0)
        return cm_fail_errno(e, errno, "cannot open %s", j->path);
    enum cm_err rc = lock(j, e);
    if (!rc && !resume)
        rc = check_unused(j, e);
    if (!rc && !resume && ftruncate(j->fd, 0) != 0)
        rc = cm_fail_errno(e, errno, "cannot empty %s", j->path);
    return rc;
}

enum cm_err cli_journal_open(
    struct cli_journal **out, const char *path, const struct cli_journal_key *key, bool resume,
    enum cm_err (*found)(void *ctx, const struct cli_journal_record *record, struct cm_error *e),
    void *ctx, struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct cli_journal *j = p;
    struct scan scan = {.key = key, .found = found, .ctx = ctx};
    j->fd = -1;
    rc = cm_copy_text(&j->path, path, e);
    if (!rc)
        rc = open_file(j, resume, e);
    if (!rc && resume) {
        rc = scan_lines(j, &scan, e);
        if (rc)
            cm_wrap(e, rc, "%s", path);
    } else if (!rc) {
        rc = write_line(j, key_json(key), e);
    }
    if (rc)
        cli_journal_close(j, false);
    else
        *out = j;
    return rc;
}

enum cm_err cli_journal_add(struct cli_journal *j, const struct cli_journal_record *record,
                            struct cm_error *e)
{
    return write_line(j, record_json(record), e);
}

void cli_journal_close(struct cli_journal *j, bool done)
{
    if (!j)
        return;
    if (done)
        unlink(j->path);
    if (j->fd >= 0)
        close(j->fd);
    free(j->path);
    free(j);
}
