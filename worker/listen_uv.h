/* listen_uv.h: where a worker listens for others that want its files. Any thread; may ask the name
 * service. */
#ifndef WK_LISTEN_UV_H
#define WK_LISTEN_UV_H

#include "common/err.h"
#include "common/io/endpoint.h"
#include "common/io/socket.h"

struct wk_giver_options;

/* Binds what the options say, and puts into `endpoint` what others are to dial: where it
 * listens on every address, the one towards the coordinator. A default path that a worker of the
 * same name has, frozen perhaps, gives way to one of this process alone. Errors: CM_EUNAVAIL (the
 * coordinator's host cannot be found, or no route leads there), CM_EUSAGE, those of io_router_bind.
 */
enum cm_err wk_listen(struct io_socket **out, struct io_context *context,
                      const struct wk_giver_options *o, char endpoint[IO_ENDPOINT_BYTES],
                      struct cm_error *e) __attribute__((warn_unused_result));

#endif
