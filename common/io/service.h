/* service.h: what a long-running role does beside its own work: sleep until its next event, and end
 * well.
 *
 * The first SIGTERM or SIGINT, or io_service_stop, asks the role to take no more work; the loop
 * ends once the role is idle, or after IO_DRAIN_MS. A signal after that ends it at once. The loop's
 * thread only. */
#ifndef IO_SERVICE_H
#define IO_SERVICE_H

#include "common/err.h"
#include "common/io/loop.h"
#include "common/log.h"

#include <stdbool.h>
#include <stdint.h>

enum { IO_DRAIN_MS = 10000 };

struct io_service;

/* The role. */
struct io_service_events {
    uint64_t (*next_wakeup_ns)(void *ctx); /* when on_tick has something to do; UINT64_MAX: never */
    void (*on_tick)(void *ctx);
    void (*on_stop)(void *ctx); /* the first signal */
    bool (*is_idle)(void *ctx); /* asked once stopping: may the loop end? */
};

/* On failure nothing is left. `events` (copied) may be called from io_service_settle on. `log`
 * outlives the service. Errors: CM_ENOMEM, CM_EIO. */
enum cm_err io_service_new(struct io_service **out, struct io_loop *l,
                           const struct io_service_events *events, void *ctx,
                           const struct cm_log *log, struct cm_error *e)
    __attribute__((warn_unused_result));

/* After the loop was freed, which closes the service's timers and signals. NULL is fine. */
void io_service_free(struct io_service *s);

/* Begins the end as the first signal does; nothing once that has begun. io_service_settle follows.
 */
void io_service_stop(struct io_service *s);

/* Call after every event: arms the timer for the role's next one, or ends the loop. */
void io_service_settle(struct io_service *s);

#endif
