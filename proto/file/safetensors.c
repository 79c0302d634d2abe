/* safetensors.c: see safetensors.h. The file is: header bytes as a little-endian u64, the header in
 * JSON, the tensors' data without gaps. */
#include "proto/file/safetensors.h"

#include "common/half.h"
#include "common/limits.h"
#include "common/mem.h"
#include "proto/file/input.h"
#include "proto/file/safetensors_meta.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, PIECE_BYTES = 32 << 10 };

static const char metadata_key[] = "__metadata__";

struct pr_safetensors {
    struct cm_weights weights;
    float *data; /* all tensors', one after the other */
};

const struct cm_weights *pr_safetensors_weights(const struct pr_safetensors *s)
{
    return &s->weights;
}

void pr_safetensors_free(struct pr_safetensors *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->weights.tensors_count; i++)
        free(s->weights.tensors[i].name);
    free(s->weights.tensors);
    free(s->data);
    free(s);
}

/* --- dtypes ------------------------------------------------------------------------------------
 */

static void floats_of_f32(const void *in, float *out, size_t count)
{
    memcpy(out, in, count * sizeof *out);
}

static void floats_of_bf16(const void *in, float *out, size_t count)
{
    const unsigned char *p = in;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)p[2 * i] << 16 | (uint32_t)p[2 * i + 1] << 24;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static void floats_of_f64(const void *in, float *out, size_t count)
{
    const unsigned char *p = in;
    for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, p + i * sizeof value, sizeof value);
        out[i] = (float)value; /* beyond float's range: infinity, which is refused afterwards */
    }
}

struct dtype {
    const char *name;
    size_t bytes;
    void (*floats_of)(const void *in, float *out, size_t count); /* NULL: a counter, left out */
};

static const struct dtype dtypes[] = {
    {"F32", 4, floats_of_f32},
    {"F16", 2, cm_floats_of_halves},
    {"BF16", 2, floats_of_bf16},
    {"F64", 8, floats_of_f64},
    {"I64", 8, NULL},
};

/* The dtype of that name if a tensor may have it, or NULL. */
static const struct dtype *dtype_of(const char *name, const char *tensor)
{
    static const char counter[] = ".num_batches_tracked";
    size_t n = strlen(tensor);
    bool is_counter =
        n >= sizeof counter - 1 && strcmp(tensor + n - (sizeof counter - 1), counter) == 0;
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return dtypes[i].floats_of || is_counter ? &dtypes[i] : NULL;
    return NULL;
}

/* --- the header --------------------------------------------------------------------------------
 */

/* One tensor as the header states it. */
struct entry {
    const char *name; /* the JSON's */
    const struct dtype *dtype;
    uint32_t rank;
    uint64_t dims[CM_TENSOR_RANK_MAX];
    uint64_t count;
    uint64_t begin, end; /* bytes within the data */
};

static bool get_u64(const json_t *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static enum cm_err take_shape(struct entry *t, const json_t *shape, struct cm_error *e)
{
    if (!json_is_array(shape))
        return cm_fail(e, CM_EFORMAT, "its shape must be an array of sizes");
    if (json_array_size(shape) > CM_TENSOR_RANK_MAX)
        return cm_fail(e, CM_ELIMIT, "its rank is %zu; at most %d is supported",
                       json_array_size(shape), CM_TENSOR_RANK_MAX);
    t->rank = (uint32_t)json_array_size(shape);
    t->count = 1;
    for (uint32_t i = 0; i < t->rank; i++) {
        if (!get_u64(json_array_get(shape, i), &t->dims[i]))
            return cm_fail(e, CM_EFORMAT, "size %u of its shape is no whole number", i);
        if (__builtin_mul_overflow(t->count, t->dims[i], &t->count))
            return cm_fail(e, CM_ELIMIT, "its shape holds more numbers than 64 bits can count");
    }
    return CM_OK;
}

static enum cm_err take_offsets(struct entry *t, const json_t *offsets, uint64_t data_bytes,
                                struct cm_error *e)
{
    uint64_t bytes;
    if (json_array_size(offsets) != 2 || !get_u64(json_array_get(offsets, 0), &t->begin) ||
        !get_u64(json_array_get(offsets, 1), &t->end))
        return cm_fail(e, CM_EFORMAT, "its data_offsets must be two whole numbers");
    if (t->begin > t->end || t->end > data_bytes)
        return cm_fail(e, CM_EFORMAT,
                       "its data_offsets [%" PRIu64 ",%" PRIu64 "] leave the file's %" PRIu64
                       " bytes of data; the file may be cut short",
                       t->begin, t->end, data_bytes);
    if (__builtin_mul_overflow(t->count, t->dtype->bytes, &bytes) || bytes != t->end - t->begin)
        return cm_fail(e, CM_EFORMAT,
                       "its shape has %" PRIu64 " numbers of %zu bytes, its data %" PRIu64 " bytes",
                       t->count, t->dtype->bytes, t->end - t->begin);
    return CM_OK;
}

static enum cm_err take_entry(struct entry *t, const char *name, const json_t *value,
                              uint64_t data_bytes, struct cm_error *e)
{
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    t->name = name;
    if (!dtype)
        return cm_fail(e, CM_EFORMAT, "its dtype must be a text such as \"F32\"");
    t->dtype = dtype_of(dtype, name);
    if (!t->dtype)
        return cm_fail(e, CM_EFORMAT, "its dtype is %.20s; save it as F32, F16, BF16 or F64",
                       dtype);
    enum cm_err rc = take_shape(t, json_object_get(value, "shape"), e);
    return rc ? rc : take_offsets(t, json_object_get(value, "data_offsets"), data_bytes, e);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name); /* tensors without numbers share their place */
}

/* The data must be the tensors, one after the other, and nothing else. */
static enum cm_err check_cover(const struct entry *entries, size_t count, uint64_t data_bytes,
                               struct cm_error *e)
{
    uint64_t reached = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].begin != reached)
            return cm_fail(e, CM_EFORMAT,
                           "tensor %.80s begins at byte %" PRIu64 " of the data, %s %" PRIu64
                           " where the one before ends",
                           entries[i].name, entries[i].begin,
                           entries[i].begin < reached ? "before byte" : "after byte", reached);
        reached = entries[i].end;
    }
    if (reached != data_bytes)
        return cm_fail(e, CM_EFORMAT,
                       "the tensors take %" PRIu64 " bytes of data, the file has %" PRIu64
                       "; copy or save it again",
                       reached, data_bytes);
    return CM_OK;
}

/* All tensors in the order of their data; *out is the caller's to free. */
static enum cm_err take_entries(struct entry **out, size_t *count, json_t *header,
                                uint64_t data_bytes, struct cm_error *e)
{
    void *p;
    const char *name;
    json_t *value;
    *count = 0;
    enum cm_err rc = cm_new(&p, json_object_size(header), sizeof **out, e);
    *out = p;
    if (rc)
        return rc;
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, metadata_key) == 0)
            continue;
        rc = take_entry(&(*out)[(*count)++], name, value, data_bytes, e);
        if (rc)
            return cm_wrap(e, rc, "tensor %.80s", name);
    }
    if (*count == 0)
        return cm_fail(e, CM_EFORMAT, "holds no tensors");
    qsort(*out, *count, sizeof **out, compare_entries);
    return check_cover(*out, *count, data_bytes, e);
}

/* --- the data ----------------------------------------------------------------------------------
 */

static enum cm_err check_finite(const float *data, size_t count, uint64_t first, struct cm_error *e)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(data[i]))
            return cm_fail(e, CM_EFORMAT, "number %" PRIu64 " is %s; train or export it again",
                           first + i, isnan(data[i]) ? "a NaN" : "infinite in float32");
    return CM_OK;
}

static enum cm_err read_tensor(const struct pr_input *in, uint64_t data_at, const struct entry *t,
                               float *out, struct cm_error *e)
{
    unsigned char piece[PIECE_BYTES];
    const size_t most = PIECE_BYTES / t->dtype->bytes;
    for (uint64_t done = 0; done < t->count;) {
        size_t now = t->count - done < most ? (size_t)(t->count - done) : most;
        enum cm_err rc = pr_input_read(in, data_at + t->begin + done * t->dtype->bytes, piece,
                                       now * t->dtype->bytes, e);
        if (rc)
            return rc;
        t->dtype->floats_of(piece, out + done, now);
        rc = check_finite(out + done, now, done, e);
        if (rc)
            return cm_wrap(e, rc, "tensor %.80s", t->name);
        done += now;
    }
    return CM_OK;
}

/* Fills s->weights.tensors and s->data from the file. */
static enum cm_err read_tensors(struct pr_safetensors *s, const struct pr_input *in,
                                uint64_t data_at, const struct entry *entries, size_t count,
                                struct cm_error *e)
{
    void *tensors, *data;
    uint64_t floats = 0; /* the sum is within the file's size, so within memory's reach */
    for (size_t i = 0; i < count; i++)
        floats += entries[i].dtype->floats_of ? entries[i].count : 0;
    enum cm_err rc = cm_new(&tensors, count, sizeof *s->weights.tensors, e);
    s->weights.tensors = tensors;
    if (!rc) {
        rc = cm_new_aligned(&data, (size_t)floats, sizeof *s->data, e);
        s->data = data;
    }
    float *next = s->data;
    for (size_t i = 0; i < count && !rc; i++) {
        const struct entry *t = &entries[i];
        if (!t->dtype->floats_of)
            continue;
        struct cm_tensor *out = &s->weights.tensors[s->weights.tensors_count];
        *out = (struct cm_tensor){.rank = t->rank, .count = t->count, .data = next};
        memcpy(out->dims, t->dims, sizeof out->dims);
        rc = cm_copy_text(&out->name, t->name, e);
        if (!rc) {
            s->weights.tensors_count++;
            rc = read_tensor(in, data_at, t, next, e);
            next += t->count;
        }
    }
    return rc;
}

/* --- the file ----------------------------------------------------------------------------------
 */

/* The header's bytes, of which the file has so many and limits.h allows them. */
static enum cm_err read_length(uint64_t *out, const struct pr_input *in, struct cm_error *e)
{
    unsigned char length[LENGTH_BYTES] = {0};
    if (in->size > CM_SAFETENSORS_BYTES_MAX)
        return cm_fail(e, CM_ELIMIT, "has %" PRIu64 " bytes; at most %" PRIu64 " are supported",
                       in->size, CM_SAFETENSORS_BYTES_MAX);
    if (in->size < sizeof length)
        return cm_fail(e, CM_EFORMAT, "is no safetensors file: has only %" PRIu64 " bytes",
                       in->size);
    enum cm_err rc = pr_input_read(in, 0, length, sizeof length, e);
    if (rc)
        return rc;
    *out = 0;
    for (size_t i = 0; i < sizeof length; i++)
        *out |= (uint64_t)length[i] << 8 * i;
    if (*out > in->size - sizeof length)
        return cm_fail(e, CM_EFORMAT,
                       "is no safetensors file, or cut short: states a header of %" PRIu64
                       " bytes in a file of %" PRIu64,
                       *out, in->size);
    if (*out > CM_SAFETENSORS_HEADER_MAX)
        return cm_fail(e, CM_ELIMIT, "its header has %" PRIu64 " bytes; at most %u are supported",
                       *out, CM_SAFETENSORS_HEADER_MAX);
    return CM_OK;
}

static enum cm_err parse_header(json_t **out, const char *text, size_t size, struct cm_error *e)
{
    json_error_t why;
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    if (json_is_object(*out))
        return CM_OK;
    if (!*out && json_error_code(&why) == json_error_out_of_memory)
        return cm_fail(e, CM_ENOMEM, "no memory for a header of %zu bytes", size);
    return cm_fail(e, CM_EFORMAT, "is no safetensors file: its header is no JSON object%s%s",
                   *out ? "" : ": ", *out ? "" : why.text);
}

/* The header as JSON, the caller's to release; *data_at is where the data begin. */
static enum cm_err read_header(json_t **out, uint64_t *data_at, const struct pr_input *in,
                               struct cm_error *e)
{
    uint64_t bytes = 0;
    void *text = NULL;
    enum cm_err rc = read_length(&bytes, in, e);
    if (!rc)
        rc = cm_new(&text, (size_t)bytes, 1, e);
    if (!rc)
        rc = pr_input_read(in, LENGTH_BYTES, text, (size_t)bytes, e);
    if (!rc)
        rc = parse_header(out, text, (size_t)bytes, e);
    free(text);
    *data_at = LENGTH_BYTES + bytes;
    return rc;
}

static enum cm_err load(struct pr_safetensors *s, const struct pr_input *in, struct cm_error *e)
{
    json_t *header = NULL;
    struct entry *entries = NULL;
    size_t count = 0;
    uint64_t data_at = 0;
    enum cm_err rc = read_header(&header, &data_at, in, e);
    if (!rc)
        rc = pr_safetensors_meta(&s->weights, json_object_get(header, metadata_key), e);
    if (!rc)
        rc = take_entries(&entries, &count, header, in->size - data_at, e);
    if (!rc)
        rc = read_tensors(s, in, data_at, entries, count, e);
    free(entries);
    json_decref(header);
    return rc;
}

enum cm_err pr_safetensors_read(struct pr_safetensors **out, const char *path, struct cm_error *e)
{
    void *p;
    struct pr_input in;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct pr_safetensors *s = p;
    rc = pr_input_open(&in, path, e);
    if (!rc)
        rc = load(s, &in, e);
    pr_input_close(&in);
    if (rc) {
        pr_safetensors_free(s);
        return cm_wrap(e, rc, "%s", path);
    }
    *out = s;
    return CM_OK;
}
