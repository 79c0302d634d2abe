/* join_uv.h: how a worker with an empty folder comes by a gallery: it asks the coordinator who has
 * it, and gets manifest and weights from there, the manifest last. Main thread.
 *
 *      JOIN, four times a second --> coordinator --> GIVERS --> manifest --> weights --> a store
 */
#ifndef WK_JOIN_UV_H
#define WK_JOIN_UV_H

#include "worker/worker_uv.h"

/* Waits for whatever it takes. *stopped says that SIGTERM or SIGINT ended it: the folder is then to
 * be gone on with another time. Errors: CM_EREFUSED (the coordinator gives nobody shards), those of
 * dialling, and of the disk. */
enum cm_err wk_join(const struct wk_edge_options *o, const struct cm_log *log, bool *stopped,
                    struct cm_error *e) __attribute__((warn_unused_result));

#endif
