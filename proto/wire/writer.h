/* writer.h: fields to MessagePack, for the messages of this folder only.
 *
 * The first failure sticks: after it every call does nothing, and pr_writer_close reports it. So a
 * pack function is a plain list of its fields. One thread at a time. */
#ifndef PR_WRITER_H
#define PR_WRITER_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

#include <msgpack.h>
#include <stdbool.h>

struct pr_writer {
    struct pr_buffer buffer;
    size_t capacity;
    enum pr_type type;
    msgpack_packer packer; /* writes into `buffer` */
    enum cm_err rc;        /* the first failure; what fills *e after it must look here before */
    struct cm_error *e;
};

/* Begins a message of `fields` fields beside its envelope. `w` must not move until it is closed. */
void pr_writer_open(struct pr_writer *w, enum pr_type type, struct cm_query_id id, uint64_t epoch,
                    uint32_t fields, struct cm_error *e);

/* Hands the bytes to *out, or frees them and zeroes *out. Errors: CM_ENOMEM, CM_ELIMIT (more than
 * CM_HEADER_BYTES_MAX), and whatever the message's own check put into `rc`. */
enum cm_err pr_writer_close(struct pr_writer *w, struct pr_buffer *out)
    __attribute__((warn_unused_result));

/* A key; its value must follow. */
void pr_write_key(struct pr_writer *w, uint32_t key);

/* An integer, in the shortest format that holds it. */
void pr_write_u64(struct pr_writer *w, uint64_t v);
/* The same; a negative one takes MessagePack's signed formats. */
void pr_write_i64(struct pr_writer *w, int64_t v);
/* A float32, whatever its value. */
void pr_write_f32(struct pr_writer *w, float v);
/* True or false. */
void pr_write_bool(struct pr_writer *w, bool v);
/* 16 bytes of binary data. */
void pr_write_fingerprint(struct pr_writer *w, const struct cm_fingerprint *f);

/* Text of `min` to `max` (at most CM_NAME_BYTES_MAX) bytes; what is not printable UTF-8 in it goes
 * out as '?', since the receiver would refuse it. Errors: CM_ELIMIT. */
void pr_write_text(struct pr_writer *w, const char *text, size_t min, size_t max);

/* An array of `count` values, a map of `count` pairs; they must follow. */
void pr_write_list(struct pr_writer *w, size_t count);
void pr_write_map(struct pr_writer *w, size_t count);

/* pr_write_key, then pr_write_u64: most fields. */
void pr_put_u64(struct pr_writer *w, uint32_t key, uint64_t v);

#endif
