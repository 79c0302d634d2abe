/* reader.h: MessagePack to fields, for the messages of this folder only.
 *
 * The first failure sticks: after it every getter returns 0 and pr_reader_close reports it. So an
 * unpack function is a plain list of its fields. One thread at a time. */
#ifndef PR_READER_H
#define PR_READER_H

#include "common/types.h"
#include "proto/wire/envelope.h"

#include <msgpack.h>
#include <stdbool.h>

/* Keys from here on must be understood: a message that holds one we do not know is refused. A
 * smaller key that we do not know is passed over. */
enum { PR_KEYS = 64 };

struct pr_reader {
    struct pr_envelope envelope;
    size_t header_bytes;
    msgpack_unpacked unpacked;
    enum cm_err rc; /* the first failure; what fills *e after it must look here before */
    struct cm_error *e;
};

/* The values of one map by key, or of one tuple by position. Valid while the reader is open. */
struct pr_fields {
    struct pr_reader *reader;
    uint64_t seen; /* bit k: values[k] is there */
    const msgpack_object *values[PR_KEYS];
};

/* An array's values. Valid while the reader is open. */
struct pr_list {
    const msgpack_object *items;
    size_t count;
};

/* Validates and parses a header and reads its envelope; whatever comes of it, pr_reader_close
 * follows. `header` must outlive the reader. Fails with CM_EFORMAT, CM_EVERSION, CM_ELIMIT,
 * CM_ENOMEM. */
void pr_reader_open(struct pr_reader *r, struct cm_bytes header, struct cm_error *e);

/* The same for a message that must be of `type`; *f are its fields. */
void pr_reader_open_message(struct pr_reader *r, struct pr_fields *f, struct cm_bytes header,
                            enum pr_type type, struct cm_error *e);

/* Frees what the reader holds and returns its first failure, with the message's name before the
 * text. */
enum cm_err pr_reader_close(struct pr_reader *r) __attribute__((warn_unused_result));

/* True if the field was sent. */
bool pr_has(const struct pr_fields *f, unsigned key);

/* A required field; `name` is for the error's text. CM_EFORMAT if it is missing, of another type or
 * out of the type's range. Integers may come in any integer format, floats as float32 only. */
uint32_t pr_get_u32(struct pr_fields *f, unsigned key, const char *name);
uint64_t pr_get_u64(struct pr_fields *f, unsigned key, const char *name);
int32_t pr_get_i32(struct pr_fields *f, unsigned key, const char *name);
int64_t pr_get_i64(struct pr_fields *f, unsigned key, const char *name);
float pr_get_f32(struct pr_fields *f, unsigned key, const char *name); /* NaN and Inf included */
bool pr_get_bool(struct pr_fields *f, unsigned key, const char *name);
struct cm_fingerprint pr_get_fingerprint(struct pr_fields *f, unsigned key, const char *name);

/* Printable UTF-8 (text.h) of at most `max` bytes, which stay the header's and have no NUL. */
struct cm_bytes pr_get_text(struct pr_fields *f, unsigned key, const char *name, size_t max);

/* The same, copied into out[max + 1] with a NUL; "" on failure. */
void pr_copy_text(struct pr_fields *f, unsigned key, const char *name, char *out, size_t max);

/* An array of at most `max` values; CM_ELIMIT if there are more. */
struct pr_list pr_get_list(struct pr_fields *f, unsigned key, const char *name, size_t max);

/* A list's item `i` as an integer, as a tuple of exactly `size` (< PR_KEYS) values, as a map; *f
 * become its fields. `i` < count. */
uint32_t pr_item_u32(struct pr_reader *r, const struct pr_list *l, size_t i, const char *name);
void pr_item_tuple(struct pr_reader *r, const struct pr_list *l, size_t i, size_t size,
                   struct pr_fields *f);
void pr_item_map(struct pr_reader *r, const struct pr_list *l, size_t i, struct pr_fields *f);

/* A field that is a map. */
void pr_get_map(struct pr_fields *f, unsigned key, const char *name, struct pr_fields *inner);

/* Puts "<name> <i>: " before the text if something has failed. For the end of a loop's body. */
void pr_reader_where(struct pr_reader *r, const char *name, size_t i);

/* Room for `count` zeroed elements, freed by the caller with free(); NULL on failure. */
void *pr_reader_new(struct pr_reader *r, size_t count, size_t size);

#endif
