/* shard.c: see shard.h. */
#include "worker/store/shard.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/io/mapped.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum block_state { UNVERIFIED, SOUND, CORRUPT };

struct st_shard {
    struct io_map *map;
    struct pr_shard_header header;
    void *meta;           /* a copy: names outlive a truncation */
    uint32_t *table;      /* [blocks] CRC-32C */
    atomic_uchar *states; /* [blocks] enum block_state */
    uint32_t index;
};

static const char *bytes_at(const struct st_shard *s, uint64_t offset)
{
    return (const char *)io_map_data(s->map) + offset;
}

static enum cm_err check_identity(const struct st_shard *s, const struct pr_manifest *m,
                                  struct cm_error *e)
{
    const struct pr_shard_header *h = &s->header;
    const struct pr_manifest_shard *listed = &m->shards[s->index];
    struct cm_geometry g = pr_shard_geometry(h);
    if (h->file_bytes != io_map_size(s->map))
        return cm_fail(e, CM_ECORRUPT, "the file has %zu bytes, its header says %" PRIu64,
                       io_map_size(s->map), h->file_bytes);
    if (h->shard_index != s->index || h->shards != m->shards_count ||
        h->precision != (uint32_t)m->precision || h->images_per_block != m->images_per_block ||
        h->first_image != st_first_image(m, s->index) || h->images != listed->images ||
        h->file_bytes != listed->bytes || !cm_geometry_equal(&g, &m->geometry) ||
        memcmp(h->model_fingerprint, m->model.bytes, sizeof h->model_fingerprint) != 0 ||
        memcmp(h->content_fingerprint, listed->content.bytes, sizeof h->content_fingerprint) != 0)
        return cm_fail(e, CM_EMISMATCH, "a sound shard, but not the one that the manifest lists");
    return CM_OK;
}

/* Copies a section out of the map and checks it. */
static enum cm_err copy_section(const struct st_shard *s, uint64_t offset, uint64_t bytes,
                                uint32_t crc, const char *name, void **out, struct cm_error *e)
{
    enum cm_err rc = cm_new_aligned(out, bytes, 1, e);
    if (rc)
        return rc;
    memcpy(*out, bytes_at(s, offset), bytes);
    uint32_t found = cm_crc32c(0, *out, bytes);
    if (found != crc || io_map_faulted(s->map, offset, bytes))
        return cm_fail(e, CM_ECORRUPT, "%s: checksum is %08" PRIx32 ", stored %08" PRIx32, name,
                       found, crc);
    return CM_OK;
}

static enum cm_err read_sections(struct st_shard *s, struct cm_error *e)
{
    const struct pr_shard_header *h = &s->header;
    void *p = NULL;
    enum cm_err rc =
        copy_section(s, h->meta_offset, h->meta_bytes, h->meta_crc32c, "metadata", &s->meta, e);
    if (!rc)
        rc = pr_shard_meta_check(h, s->meta, e);
    if (!rc)
        rc = copy_section(s, h->table_offset, h->file_bytes - h->table_offset, h->table_crc32c,
                          "checksum table", &p, e);
    s->table = p;
    p = NULL;
    if (!rc)
        rc = cm_new(&p, h->blocks, sizeof *s->states, e);
    s->states = p; /* zero is UNVERIFIED */
    return rc;
}

static enum cm_err open_file(struct st_shard *s, const struct st_gallery *g, const char *path,
                             struct cm_error *e)
{
    enum cm_err rc = io_map_open(&s->map, path, e);
    if (rc)
        return rc; /* names the path itself */
    if (io_map_size(s->map) < PR_PAGE_BYTES)
        rc = cm_fail(e, CM_ECORRUPT, "%zu bytes are less than a header", io_map_size(s->map));
    if (!rc) {
        memcpy(&s->header, io_map_data(s->map), sizeof s->header);
        rc = pr_shard_header_check(&s->header, e);
    }
    if (!rc)
        rc = check_identity(s, &g->manifest, e);
    if (!rc)
        rc = read_sections(s, e);
    return rc ? cm_wrap(e, rc, "%s", path) : CM_OK;
}

enum cm_err st_shard_open(struct st_shard **out, const struct st_gallery *g, uint32_t index,
                          struct cm_error *e)
{
    char file[PR_SHARD_FILE_BYTES];
    return st_shard_open_file(out, g, index, pr_shard_file(index, file), e);
}

enum cm_err st_shard_open_file(struct st_shard **out, const struct st_gallery *g, uint32_t index,
                               const char *file, struct cm_error *e)
{
    char *path = NULL;
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    *out = p;
    if (rc)
        return rc;
    (*out)->index = index;
    rc = st_path(&path, g->dir, file, e);
    if (!rc)
        rc = open_file(*out, g, path, e);
    free(path);
    if (rc) {
        st_shard_close(*out);
        *out = NULL;
    }
    return rc;
}

void st_shard_close(struct st_shard *s)
{
    if (!s)
        return;
    io_map_close(s->map);
    free(s->meta);
    free(s->table);
    free(s->states);
    free(s);
}

const struct pr_shard_header *st_shard_header(const struct st_shard *s)
{
    return &s->header;
}

struct cm_image_meta st_shard_meta(const struct st_shard *s, uint64_t i)
{
    return pr_shard_meta(&s->header, s->meta, i);
}

static bool faulted(const struct st_shard *s, uint64_t b)
{
    return io_map_faulted(s->map, pr_block_offset(&s->header, b), pr_block_bytes(&s->header, b));
}

static enum block_state verify(const struct st_shard *s, uint64_t b)
{
    const struct pr_shard_header *h = &s->header;
    uint32_t crc = cm_crc32c(0, bytes_at(s, pr_block_offset(h, b)), pr_block_bytes(h, b));
    return crc == s->table[b] && !faulted(s, b) ? SOUND : CORRUPT;
}

enum cm_err st_shard_block(struct st_shard *s, uint64_t b, struct st_block *out, struct cm_error *e)
{
    const struct pr_shard_header *h = &s->header;
    unsigned char state = atomic_load(&s->states[b]);
    if (state == UNVERIFIED) {
        state = (unsigned char)verify(s, b);
        atomic_store(&s->states[b], state);
    }
    uint64_t first = h->first_image + b * h->images_per_block;
    char file[PR_SHARD_FILE_BYTES];
    if (state == CORRUPT)
        return cm_fail(e, CM_ECORRUPT,
                       "%s: block %" PRIu64 " (images %" PRIu64 " to %" PRIu64
                       ") does not match its checksum, or cannot be read",
                       pr_shard_file(s->index, file), b, first, first + pr_block_images(h, b) - 1);
    *out = (struct st_block){
        .images = bytes_at(s, pr_block_offset(h, b)),
        .stride = h->image_stride,
        .count = pr_block_images(h, b),
        .first_image = first,
    };
    return CM_OK;
}

bool st_shard_block_held(struct st_shard *s, uint64_t b)
{
    if (!faulted(s, b))
        return true;
    atomic_store(&s->states[b], (unsigned char)CORRUPT);
    return false;
}

struct cm_fingerprint st_shard_block_fingerprint(const struct st_shard *s, uint64_t b)
{
    return cm_fingerprint_of(bytes_at(s, pr_block_offset(&s->header, b)),
                             pr_block_bytes(&s->header, b));
}

struct cm_fingerprint st_shard_meta_fingerprint(const struct st_shard *s)
{
    return cm_fingerprint_of(s->meta, s->header.meta_bytes);
}
