/* transfer.c: see transfer.h. */
#include "proto/wire/transfer.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum { GALLERY = 16, FILE_KIND = 17, SHARD = 18, READ_OFFSET = 19, BYTES = 20, READ_FIELDS = 5 };
enum { OFFSET = 16, FILE_BYTES = 17, PAYLOAD_CRC32C = 18, TEXT = 19, BLOCK_FIELDS = 4 };

static enum cm_err check_read(const struct pr_read *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("file", m->file, PR_FILE_MANIFEST, PR_FILE_SHARD, e);
    if (!rc)
        rc = pr_check_range("shard", m->shard.v, 0,
                            m->file == PR_FILE_SHARD ? CM_SHARDS_MAX - 1 : 0, e);
    if (!rc)
        rc = pr_check_range("offset", m->offset, 0, CM_SHARD_BYTES_MAX, e);
    return rc ? rc : pr_check_range("bytes", m->bytes, 1, CM_TRANSFER_BYTES_MAX, e);
}

enum cm_err pr_read_pack(const struct pr_read *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_READ, m->id, 0, READ_FIELDS, e);
    if (!w.rc)
        w.rc = check_read(m, e);
    pr_write_key(&w, GALLERY);
    pr_write_fingerprint(&w, &m->gallery);
    pr_put_u64(&w, FILE_KIND, m->file);
    pr_put_u64(&w, SHARD, m->shard.v);
    pr_put_u64(&w, READ_OFFSET, m->offset);
    pr_put_u64(&w, BYTES, m->bytes);
    return pr_writer_close(&w, out);
}

enum cm_err pr_read_unpack(struct cm_bytes header, struct pr_read *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_READ, e);
    *out = (struct pr_read){.id = r.envelope.id};
    out->gallery = pr_get_fingerprint(&f, GALLERY, "gallery");
    out->file = pr_get_u32(&f, FILE_KIND, "file");
    out->shard.v = pr_get_u32(&f, SHARD, "shard");
    out->offset = pr_get_u64(&f, READ_OFFSET, "offset");
    out->bytes = pr_get_u32(&f, BYTES, "bytes");
    if (!r.rc)
        r.rc = check_read(out, e);
    return pr_reader_close(&r);
}

static enum cm_err check_block(const struct pr_block *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("file_bytes", m->file_bytes, 0, CM_SHARD_BYTES_MAX, e);
    return rc ? rc : pr_check_range("offset", m->offset, 0, CM_SHARD_BYTES_MAX, e);
}

enum cm_err pr_block_pack(const struct pr_block *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_BLOCK, m->id, 0, BLOCK_FIELDS, e);
    if (!w.rc)
        w.rc = check_block(m, e);
    pr_put_u64(&w, OFFSET, m->offset);
    pr_put_u64(&w, FILE_BYTES, m->file_bytes);
    pr_put_u64(&w, PAYLOAD_CRC32C, m->payload_crc32c);
    pr_write_key(&w, TEXT);
    pr_write_text(&w, m->text, 0, CM_TEXT_BYTES_MAX);
    return pr_writer_close(&w, out);
}

enum cm_err pr_block_unpack(struct cm_bytes header, struct pr_block *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_BLOCK, e);
    *out = (struct pr_block){.id = r.envelope.id};
    out->offset = pr_get_u64(&f, OFFSET, "offset");
    out->file_bytes = pr_get_u64(&f, FILE_BYTES, "file_bytes");
    out->payload_crc32c = pr_get_u32(&f, PAYLOAD_CRC32C, "payload_crc32c");
    pr_copy_text(&f, TEXT, "text", out->text, CM_TEXT_BYTES_MAX);
    if (!r.rc)
        r.rc = check_block(out, e);
    return pr_reader_close(&r);
}
