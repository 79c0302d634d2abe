/* handles.h: for the files of common/io alone: objects made of libuv handles, and their end.
 *
 * libuv gives a handle's memory back only in its close callback, a turn of the loop later. So an
 * object counts its handles, and the last close callback releases it. Every handle on the loop has
 * `data` pointing at such an object, and io_loop_free relies on it. */
#ifndef IO_HANDLES_H
#define IO_HANDLES_H

#include "common/err.h"
#include "common/io/loop.h"

#include <uv.h>

/* First in an object's struct. */
struct io_handles {
    unsigned open;
    void (*release)(struct io_handles *h); /* after the last handle closed: frees the object */
};

/* libuv's loop inside ours. */
uv_loop_t *io_loop_uv(struct io_loop *l);

/* Counts a handle that its uv_X_init made part of `h`. */
void io_handles_add(struct io_handles *h, uv_handle_t *handle);

/* Closes one handle; fine if it is closing already. */
void io_handle_close(uv_handle_t *handle);

/* Fills *e from one of libuv's negative codes. */
enum cm_err io_fail_uv(struct cm_error *e, int code, const char *what);

#endif
