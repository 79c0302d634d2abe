/* npy.h: streaming reader of feature maps: .npy, float16 or float32, [images, height, width,
 * channels] in C order.
 *
 * Nothing is held in memory but the header's figures. What comes out is finite: a NaN or an
 * infinity is an error that says where it stands. A file is read at any place; a stream, such as a
 * pipe, gives its images once, in order. */
#ifndef PR_NPY_H
#define PR_NPY_H

#include "common/err.h"
#include "common/types.h"
#include "proto/file/input.h"

#include <stddef.h>
#include <stdint.h>

/* An open file or stream. Read the fields, do not change them. */
struct pr_npy {
    uint64_t images; /* at least 1 */
    uint32_t height;
    uint32_t width;
    uint32_t channels; /* of the whole map: layers * channels of a layer */
    enum cm_dtype dtype;
    size_t image_floats; /* height * width * channels */
    size_t image_bytes;  /* of one image as stored */
    uint64_t data_offset;
    struct pr_input input; /* input.stream says which it is */
};

/* Opens the file `path` and checks that header and size agree to the byte. On failure *out is NULL.
 * Errors, which name the file and say what to do: CM_ENOENT, CM_EIO, CM_ENOMEM; CM_EFORMAT (no
 * .npy file, another dtype, byte order, axis order or rank, no images, too short, too long);
 * CM_EVERSION; CM_ELIMIT (a size over limits.h). */
enum cm_err pr_npy_open(struct pr_npy **out, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The same for a file or a stream (see pr_input_open_any), whose size shows at its end only. */
enum cm_err pr_npy_open_any(struct pr_npy **out, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* A file's images first .. first + count - 1 as float32, count * image_floats of them in `out`; the
 * caller keeps within `images`. Float16 becomes float32 exactly. Any thread, several at once.
 * Errors: CM_EFORMAT (NaN, infinity, the file became shorter), CM_EIO; then `out` holds rubbish. */
enum cm_err pr_npy_read(const struct pr_npy *n, uint64_t first, size_t count, float *out,
                        struct cm_error *e) __attribute__((warn_unused_result));

/* The same as stored: count * image_bytes bytes of little-endian `dtype`, `out` of any alignment.
 * What a query's map on the wire is. Checked to be finite all the same. */
enum cm_err pr_npy_read_raw(const struct pr_npy *n, uint64_t first, size_t count, void *out,
                            struct cm_error *e) __attribute__((warn_unused_result));

/* A stream's next `count` images as stored, count * image_bytes, not yet checked to be finite; the
 * caller takes no more than `images` in all. With the last one it sees that the stream ends there.
 * One thread. Errors: CM_EFORMAT (it ends early, or has more), CM_EIO; then `out` holds rubbish. */
enum cm_err pr_npy_next(struct pr_npy *n, size_t count, void *out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Image `image` of float32 from what pr_npy_next gave for it. Any thread. Errors: CM_EFORMAT (NaN,
 * infinity). */
enum cm_err pr_npy_widen(const struct pr_npy *n, uint64_t image, const void *stored, float *out,
                         struct cm_error *e) __attribute__((warn_unused_result));

/* Closes and frees; NULL is fine. */
void pr_npy_close(struct pr_npy *n);

#endif
