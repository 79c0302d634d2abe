/* nearby.h: where a process that dials one endpoint can itself be reached by the others that do.
 * May ask the name service; any thread. */
#ifndef IO_NEARBY_H
#define IO_NEARBY_H

#include "common/err.h"
#include "common/io/endpoint.h"

/* An endpoint to listen on, in `out`: for ipc the same path with ".<name>" behind it; for tcp the
 * address of this machine from which `dialled` is reached, with a port that the system picks. No
 * packet is sent. Errors: CM_EUSAGE (no endpoint; a path that gets too long), CM_EUNAVAIL (the host
 * cannot be found, or no route leads there). */
enum cm_err io_nearby(const char *dialled, const char *name, char out[IO_ENDPOINT_BYTES],
                      struct cm_error *e) __attribute__((warn_unused_result));

#endif
