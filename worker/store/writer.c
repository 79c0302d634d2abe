/* writer.c: see writer.h. */
#include "worker/store/writer.h"

#include "common/assert.h"
#include "common/checksum.h"
#include "common/io/file.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct st_writer {
    int fd;
    char *path;
    struct pr_shard_shape shape;
    struct pr_shard_header header;
    uint32_t *table;              /* [blocks] CRC-32C */
    struct cm_fingerprint *parts; /* [blocks + 1]: each block's, then the metadata's */
    struct pr_meta_record *records;
    uint64_t records_count;
    char *names;
    size_t names_bytes;
    size_t names_room;
};

static enum cm_err new_arrays(struct st_writer *w, struct cm_error *e)
{
    void *table = NULL, *parts = NULL, *records = NULL;
    enum cm_err rc = cm_new(&table, w->header.blocks, sizeof *w->table, e);
    w->table = table;
    if (!rc)
        rc = cm_new(&parts, w->header.blocks + 1, sizeof *w->parts, e);
    w->parts = parts;
    if (!rc)
        rc = cm_new(&records, w->header.images, sizeof *w->records, e);
    w->records = records;
    return rc;
}

static enum cm_err create_file(struct st_writer *w, struct cm_error *e)
{
    w->fd = open(w->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (w->fd < 0)
        return cm_fail_errno(e, errno, "cannot create %s", w->path);
    int errnum = posix_fallocate(w->fd, 0, (off_t)w->header.meta_offset);
    if (errnum)
        return cm_fail_errno(e, errnum, "cannot reserve %llu bytes for %s",
                             (unsigned long long)w->header.meta_offset, w->path);
    return CM_OK;
}

enum cm_err st_writer_open(struct st_writer **out, const char *path,
                           const struct pr_shard_shape *shape, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct st_writer *w = *out = p;
    if (rc)
        return rc;
    w->fd = -1;
    w->shape = *shape;
    w->shape.names_bytes = 0;
    pr_shard_header_init(&w->header, &w->shape);
    rc = cm_copy_text(&w->path, path, e);
    if (!rc)
        rc = new_arrays(w, e);
    if (!rc)
        rc = create_file(w, e);
    if (rc) {
        st_writer_close(w);
        *out = NULL;
    }
    return rc;
}

const struct pr_shard_header *st_writer_header(const struct st_writer *w)
{
    return &w->header;
}

enum cm_err st_writer_block(struct st_writer *w, uint64_t b, const void *data, struct cm_error *e)
{
    size_t bytes = pr_block_bytes(&w->header, b);
    w->table[b] = cm_crc32c(0, data, bytes);
    w->parts[b] = cm_fingerprint_of(data, bytes);
    return io_file_write_all(w->fd, w->path, pr_block_offset(&w->header, b), data, bytes, e);
}

static enum cm_err grow_names(struct st_writer *w, size_t more, struct cm_error *e)
{
    if (w->names_bytes + more <= w->names_room)
        return CM_OK;
    size_t room = 2 * (w->names_bytes + more);
    char *grown = realloc(w->names, room);
    if (!grown)
        return cm_fail(e, CM_ENOMEM, "cannot allocate %zu bytes for names", room);
    w->names = grown;
    w->names_room = room;
    return CM_OK;
}

enum cm_err st_writer_meta(struct st_writer *w, const struct cm_image_meta *meta,
                           struct cm_error *e)
{
    CM_ASSERT(w->records_count < w->header.images);
    size_t bytes = strlen(meta->name) + 1;
    enum cm_err rc = grow_names(w, bytes, e);
    if (rc)
        return rc;
    w->records[w->records_count++] = (struct pr_meta_record){
        .pid = meta->pid,
        .timestamp = meta->timestamp,
        .camid = meta->camid,
        .name_bytes = (uint32_t)(bytes - 1),
        .name_offset = w->names_bytes,
    };
    memcpy(w->names + w->names_bytes, meta->name, bytes);
    w->names_bytes += bytes;
    return CM_OK;
}

/* Records, names and padding, as they go to the file. */
static enum cm_err write_meta(struct st_writer *w, struct cm_error *e)
{
    void *p;
    size_t records_bytes = w->records_count * sizeof *w->records;
    enum cm_err rc = cm_new(&p, w->header.meta_bytes, 1, e);
    if (rc)
        return rc;
    memcpy(p, w->records, records_bytes);
    memcpy((char *)p + records_bytes, w->names, w->names_bytes);
    w->header.meta_crc32c = cm_crc32c(0, p, w->header.meta_bytes);
    w->parts[w->header.blocks] = cm_fingerprint_of(p, w->header.meta_bytes);
    rc = io_file_write_all(w->fd, w->path, w->header.meta_offset, p, w->header.meta_bytes, e);
    free(p);
    return rc;
}

static enum cm_err write_table(struct st_writer *w, struct cm_error *e)
{
    void *p;
    size_t bytes = w->header.file_bytes - w->header.table_offset;
    enum cm_err rc = cm_new(&p, bytes, 1, e);
    if (rc)
        return rc;
    memcpy(p, w->table, w->header.blocks * sizeof *w->table);
    w->header.table_crc32c = cm_crc32c(0, p, bytes);
    rc = io_file_write_all(w->fd, w->path, w->header.table_offset, p, bytes, e);
    free(p);
    return rc;
}

enum cm_err st_writer_commit(struct st_writer *w, const struct cm_fingerprint *model,
                             struct pr_manifest_shard *listed, struct cm_error *e)
{
    CM_ASSERT(w->records_count == w->header.images);
    w->shape.names_bytes = w->names_bytes;
    pr_shard_header_init(&w->header, &w->shape);
    enum cm_err rc = write_meta(w, e);
    if (!rc)
        rc = write_table(w, e);
    if (rc)
        return rc;
    struct cm_fingerprint content = pr_content_fingerprint(w->parts, w->header.blocks + 1);
    memcpy(w->header.model_fingerprint, model->bytes, sizeof model->bytes);
    memcpy(w->header.content_fingerprint, content.bytes, sizeof content.bytes);
    pr_shard_header_seal(&w->header);
    rc = io_file_write_all(w->fd, w->path, 0, &w->header, sizeof w->header, e);
    if (!rc && fsync(w->fd) != 0)
        rc = cm_fail_errno(e, errno, "cannot sync %s", w->path);
    *listed = (struct pr_manifest_shard){w->header.images, w->header.file_bytes, content};
    return rc;
}

void st_writer_close(struct st_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    free(w->path);
    free(w->table);
    free(w->parts);
    free(w->records);
    free(w->names);
    free(w);
}
