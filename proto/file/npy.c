/* npy.c: see npy.h. */
#include "proto/file/npy.h"

#include "common/assert.h"
#include "common/geometry.h"
#include "common/half.h"
#include "common/limits.h"
#include "common/mem.h"
#include "proto/file/npy_header.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 32 << 10 }; /* of float16, read and converted at a time; stays in cache */

/* --- what the header says ----------------------------------------------------------------------
 */

static const char how_to_save[] = "save it with np.save(path, np.ascontiguousarray(x)"
                                  ".astype(np.float32))";

static enum cm_err check_dtype(struct pr_npy *n, const struct pr_npy_header *h, struct cm_error *e)
{
    const char *d = h->descr;
    if (strcmp(d, "<f2") == 0) {
        n->dtype = CM_DTYPE_F16;
        return CM_OK;
    }
    if (strcmp(d, "<f4") == 0) {
        n->dtype = CM_DTYPE_F32;
        return CM_OK;
    }
    const char *what = "holds neither float16 nor float32";
    if (strcmp(d, ">f2") == 0 || strcmp(d, ">f4") == 0)
        what = "is big-endian";
    else if (strcmp(d, "<f8") == 0 || strcmp(d, ">f8") == 0)
        what = "holds float64";
    else if (strcmp(d, "|O") == 0)
        what = "holds Python objects, not numbers";
    return cm_fail(e, CM_EFORMAT, "%s (dtype '%s'); %s", what, d, how_to_save);
}

static enum cm_err check_layout(const struct pr_npy_header *h, struct cm_error *e)
{
    char shape[PR_NPY_SHAPE_TEXT_BYTES];
    if (h->fortran_order)
        return cm_fail(e, CM_EFORMAT, "is in Fortran order; %s", how_to_save);
    if (h->rank != 4)
        return cm_fail(e, CM_EFORMAT,
                       "has the shape %s; feature maps are [images, height, width, channels]: use "
                       "x.reshape(n, h, w, c), or x.transpose(0, 2, 3, 1) if channels come first",
                       pr_npy_shape_text(h, shape));
    if (h->dims[0] == 0)
        return cm_fail(e, CM_EFORMAT, "holds no images");
    return CM_OK;
}

static enum cm_err check_dim(const char *name, uint64_t value, uint64_t most, struct cm_error *e)
{
    if (value == 0)
        return cm_fail(e, CM_EFORMAT, "its %s is 0", name);
    if (value > most)
        return cm_fail(e, CM_ELIMIT, "its %s is %llu; at most %llu is supported", name,
                       (unsigned long long)value, (unsigned long long)most);
    return CM_OK;
}

/* Each size within its limit, then one map within its own: after that no product overflows. */
static enum cm_err check_sizes(struct pr_npy *n, const struct pr_npy_header *h, struct cm_error *e)
{
    enum cm_err rc = check_dim("number of images", h->dims[0], CM_IMAGES_MAX, e);
    if (!rc)
        rc = check_dim("height", h->dims[1], CM_SIDE_MAX, e);
    if (!rc)
        rc = check_dim("width", h->dims[2], CM_SIDE_MAX, e);
    if (!rc)
        rc = check_dim("number of channels", h->dims[3], CM_CHANNELS_MAX * CM_LAYERS_MAX, e);
    if (!rc)
        rc = check_dim("height x width", h->dims[1] * h->dims[2], CM_TOKENS_MAX, e);
    uint64_t floats = rc ? 0 : h->dims[1] * h->dims[2] * h->dims[3];
    if (!rc)
        rc = check_dim("bytes per image in float32", floats * sizeof(float), CM_MAP_BYTES_MAX, e);
    if (rc)
        return rc;
    n->images = h->dims[0];
    n->height = (uint32_t)h->dims[1];
    n->width = (uint32_t)h->dims[2];
    n->channels = (uint32_t)h->dims[3];
    n->image_floats = (size_t)floats;
    n->image_bytes = n->image_floats * cm_dtype_bytes(n->dtype);
    return CM_OK;
}

/* Header and data. 2^40 images of 2^24 bytes: nothing is that large. */
static uint64_t expected_bytes(const struct pr_npy *n)
{
    uint64_t bytes;
    if (__builtin_mul_overflow(n->images, n->image_bytes, &bytes) ||
        __builtin_add_overflow(bytes, n->data_offset, &bytes))
        return UINT64_MAX;
    return bytes;
}

/* It has `bytes`, or so many came before its end; or more than `bytes` came. */
static enum cm_err wrong_size(const struct pr_npy *n, uint64_t bytes, struct cm_error *e)
{
    uint64_t expected = expected_bytes(n);
    char end[64];
    if (!n->input.stream)
        snprintf(end, sizeof end, "the file has %" PRIu64 "; copy or save it again", bytes);
    else if (bytes < expected)
        snprintf(end, sizeof end, "%" PRIu64 " came; see why its writer stopped", bytes);
    else
        snprintf(end, sizeof end, "and more came");
    return cm_fail(e, CM_EFORMAT,
                   "%s: shape (%" PRIu64 ", %u, %u, %u) of %s takes %" PRIu64 " bytes, %s",
                   bytes < expected ? "is cut short" : "has surplus bytes at its end", n->images,
                   n->height, n->width, n->channels, cm_dtype_name(n->dtype), expected, end);
}

static enum cm_err check_header(struct pr_npy *n, const struct pr_npy_header *h, struct cm_error *e)
{
    enum cm_err rc = check_dtype(n, h, e);
    if (!rc)
        rc = check_layout(h, e);
    if (!rc)
        rc = check_sizes(n, h, e);
    n->data_offset = h->data_offset;
    if (!rc && !n->input.stream && n->input.size != expected_bytes(n))
        rc = wrong_size(n, n->input.size, e);
    return rc;
}

static enum cm_err open_with(struct pr_npy **out, const char *path,
                             enum cm_err (*open_input)(struct pr_input *in, const char *path,
                                                       struct cm_error *e),
                             struct cm_error *e)
{
    void *p;
    struct pr_npy_header header;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct pr_npy *n = p;
    rc = open_input(&n->input, path, e);
    if (!rc)
        rc = pr_npy_header_read(&header, &n->input, e);
    if (!rc)
        rc = check_header(n, &header, e);
    if (rc) {
        pr_npy_close(n);
        return cm_wrap(e, rc, "%s", path);
    }
    *out = n;
    return CM_OK;
}

enum cm_err pr_npy_open(struct pr_npy **out, const char *path, struct cm_error *e)
{
    return open_with(out, path, pr_input_open, e);
}

enum cm_err pr_npy_open_any(struct pr_npy **out, const char *path, struct cm_error *e)
{
    return open_with(out, path, pr_input_open_any, e);
}

void pr_npy_close(struct pr_npy *n)
{
    if (!n)
        return;
    pr_input_close(&n->input);
    free(n);
}

/* --- the data ----------------------------------------------------------------------------------
 */

/* A number is not finite where its exponent is all ones; the fraction tells NaN from infinity. */
static uint32_t bits_at(const unsigned char *data, enum cm_dtype dtype, size_t i)
{
    if (dtype == CM_DTYPE_F16)
        return (uint32_t)(data[2 * i] | data[2 * i + 1] << 8);
    uint32_t bits;
    memcpy(&bits, data + 4 * i, sizeof bits);
    return bits;
}

static uint32_t exponent_mask(enum cm_dtype dtype)
{
    return dtype == CM_DTYPE_F16 ? 0x7c00u : 0x7f800000u;
}

/* No early exit, so that the compiler vectorises it: nearly every map is finite. */
static bool all_finite(const unsigned char *data, enum cm_dtype dtype, size_t count)
{
    size_t bad = 0;
    if (dtype == CM_DTYPE_F16) {
        for (size_t i = 0; i < count; i++)
            bad += (bits_at(data, CM_DTYPE_F16, i) & 0x7c00u) == 0x7c00u;
    } else {
        for (size_t i = 0; i < count; i++)
            bad += (bits_at(data, CM_DTYPE_F32, i) & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

/* Checks `count` numbers as stored, the first of which is element `element` of image `image`. */
static enum cm_err check_finite(const struct pr_npy *n, const void *data, size_t count,
                                uint64_t image, size_t element, struct cm_error *e)
{
    const unsigned char *p = data;
    if (all_finite(p, n->dtype, count))
        return CM_OK;
    uint32_t mask = exponent_mask(n->dtype);
    size_t i = 0;
    while ((bits_at(p, n->dtype, i) & mask) != mask)
        i++;
    bool nan = (bits_at(p, n->dtype, i) & (mask == 0x7c00u ? 0x3ffu : 0x7fffffu)) != 0;
    uint64_t at = element + i; /* may lie in a later image */
    image += at / n->image_floats;
    at %= n->image_floats;
    return cm_fail(
        e, CM_EFORMAT, "image %llu has %s at [%llu,%llu,%llu]; check how the features were made",
        (unsigned long long)image, nan ? "a NaN" : "an infinity",
        (unsigned long long)(at / n->channels / n->width),
        (unsigned long long)(at / n->channels % n->width), (unsigned long long)(at % n->channels));
}

static enum cm_err read_raw(const struct pr_npy *n, uint64_t first, size_t count, void *out,
                            struct cm_error *e)
{
    enum cm_err rc = pr_input_read(&n->input, n->data_offset + first * n->image_bytes, out,
                                   count * n->image_bytes, e);
    return rc ? rc : check_finite(n, out, count * n->image_floats, first, 0, e);
}

static enum cm_err read_halves(const struct pr_npy *n, uint64_t first, size_t count, float *out,
                               struct cm_error *e)
{
    unsigned char piece[PIECE_BYTES];
    size_t total = count * n->image_floats;
    uint64_t at = n->data_offset + first * n->image_bytes;
    for (size_t done = 0; done < total;) {
        size_t now = total - done < PIECE_BYTES / 2 ? total - done : PIECE_BYTES / 2;
        enum cm_err rc = pr_input_read(&n->input, at + 2 * done, piece, 2 * now, e);
        if (!rc)
            rc = check_finite(n, piece, now, first, done, e);
        if (rc)
            return rc;
        cm_floats_of_halves(piece, out + done, now);
        done += now;
    }
    return CM_OK;
}

enum cm_err pr_npy_read(const struct pr_npy *n, uint64_t first, size_t count, float *out,
                        struct cm_error *e)
{
    CM_ASSERT(first <= n->images && count <= n->images - first);
    enum cm_err rc = n->dtype == CM_DTYPE_F16 ? read_halves(n, first, count, out, e)
                                              : read_raw(n, first, count, out, e);
    return rc ? cm_wrap(e, rc, "%s", n->input.path) : CM_OK;
}

enum cm_err pr_npy_read_raw(const struct pr_npy *n, uint64_t first, size_t count, void *out,
                            struct cm_error *e)
{
    CM_ASSERT(first <= n->images && count <= n->images - first);
    enum cm_err rc = read_raw(n, first, count, out, e);
    return rc ? cm_wrap(e, rc, "%s", n->input.path) : CM_OK;
}

/* --- a stream ----------------------------------------------------------------------------------
 */

/* At the end of the last image the stream must end too. */
static enum cm_err check_end(struct pr_npy *n, struct cm_error *e)
{
    char surplus;
    size_t got;
    enum cm_err rc = pr_input_next(&n->input, &surplus, 1, &got, e);
    return !rc && got > 0 ? wrong_size(n, n->input.at, e) : rc;
}

enum cm_err pr_npy_next(struct pr_npy *n, size_t count, void *out, struct cm_error *e)
{
    size_t bytes = count * n->image_bytes, got;
    CM_ASSERT(n->input.stream && bytes <= expected_bytes(n) - n->input.at);
    enum cm_err rc = pr_input_next(&n->input, out, bytes, &got, e);
    if (!rc && got < bytes)
        rc = wrong_size(n, n->input.at, e);
    else if (!rc && n->input.at == expected_bytes(n))
        rc = check_end(n, e);
    return rc ? cm_wrap(e, rc, "%s", n->input.path) : CM_OK;
}

enum cm_err pr_npy_widen(const struct pr_npy *n, uint64_t image, const void *stored, float *out,
                         struct cm_error *e)
{
    enum cm_err rc = check_finite(n, stored, n->image_floats, image, 0, e);
    if (rc)
        return cm_wrap(e, rc, "%s", n->input.path);
    if (n->dtype == CM_DTYPE_F16)
        cm_floats_of_halves(stored, out, n->image_floats);
    else
        memcpy(out, stored, n->image_bytes);
    return CM_OK;
}
