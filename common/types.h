/* types.h: ids that cannot be mixed up, and the few plain structs that every layer speaks.
 *
 * Units stand last in a name: _ns, _ms, _bytes; counts end in _count or are plural (images,
 * shards); an index counts from 0 and ends in _index. */
#ifndef CM_TYPES_H
#define CM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A request on the wire, unique for the life of the process that made it. */
struct cm_query_id {
    uint64_t v;
};

/* One shard of a gallery, from 0. */
struct cm_shard_id {
    uint32_t v;
};

/* 128 bits that tell two models or two galleries apart (XXH3; not a defence against malice). */
struct cm_fingerprint {
    uint8_t bytes[16];
};

enum { CM_FINGERPRINT_TEXT_BYTES = 33 };

/* Some bytes that belong to somebody else. */
struct cm_bytes {
    const void *data;
    size_t size;
};

/* Where a message came from, as the transport names it (a ROUTER's routing id). */
struct cm_peer {
    uint8_t size; /* bytes used; 0 is nobody */
    uint8_t bytes[255];
};

/* The same peer? */
static inline bool cm_peer_equal(const struct cm_peer *a, const struct cm_peer *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* Stored in files and sent: a value is never reused. */
enum cm_matcher {
    CM_TRANSMATCHER = 1,
    CM_QACONV = 2,
};

/* The form in which a gallery keeps its features; stored and sent too. */
enum cm_precision {
    CM_F32 = 1,
    CM_BF16 = 2,
    CM_INT8 = 3, /* with a scale per token */
};

/* Element type of a feature map as it comes from outside. */
enum cm_dtype {
    CM_DTYPE_F16 = 1,
    CM_DTYPE_F32 = 2,
};

/* The sizes of a model. A raw feature map is [height][width][layers * channels]; token index is
 * y * width + x; chunk l of the channels feeds layer l. QAConv: layers = 1, ff = 0. */
struct cm_geometry {
    enum cm_matcher matcher;
    uint32_t height;   /* tokens */
    uint32_t width;    /* tokens */
    uint32_t channels; /* d: channels of one layer */
    uint32_t layers;   /* N */
    uint32_t ff;       /* width of the head's hidden layer */
};

/* T: tokens of one image. */
static inline uint32_t cm_tokens(const struct cm_geometry *g)
{
    return g->height * g->width;
}

/* Floats in one image's map, raw or projected (the projection keeps the shape). */
static inline size_t cm_map_floats(const struct cm_geometry *g)
{
    return (size_t)cm_tokens(g) * g->channels * g->layers;
}

/* What is known of an image beside its features. `name` is borrowed. */
struct cm_image_meta {
    int64_t pid;
    int64_t timestamp;
    int32_t camid;
    const char *name; /* UTF-8, NUL-terminated */
};

#endif
