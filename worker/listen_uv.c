/* listen_uv.c: see listen_uv.h. */
#include "worker/listen_uv.h"

#include "common/io/nearby.h"
#include "worker/giver_uv.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Near the coordinator. */
static enum cm_err bind_nearby(struct io_socket **out, struct io_context *context,
                               const struct wk_giver_options *o, struct cm_error *e)
{
    char text[IO_ENDPOINT_BYTES], own[CM_NODE_BYTES_MAX + 16];
    enum cm_err rc = io_nearby(o->connect, o->node, text, e);
    if (!rc)
        rc = io_router_bind(out, context, text, e);
    if (rc != CM_EBUSY)
        return rc;
    snprintf(own, sizeof own, "%s.%d", o->node, (int)getpid());
    rc = io_nearby(o->connect, own, text, e);
    return rc ? rc : io_router_bind(out, context, text, e);
}

static enum cm_err bind_there(struct io_socket **out, struct io_context *context,
                              const struct wk_giver_options *o, struct cm_error *e)
{
    enum cm_err rc = io_router_bind(out, context, o->listen, e);
    return rc ? cm_wrap(e, rc, "--listen") : CM_OK;
}

static bool is_everywhere(const struct io_endpoint *p)
{
    return p->scheme == IO_TCP && (strcmp(p->host, "*") == 0 || strcmp(p->host, "0.0.0.0") == 0 ||
                                   strcmp(p->host, "[::]") == 0);
}

/* What others dial for what is bound. */
static enum cm_err name_endpoint(const char *bound, const char *connect,
                                 char out[IO_ENDPOINT_BYTES], struct cm_error *e)
{
    struct io_endpoint p, here;
    char nearby[IO_ENDPOINT_BYTES];
    enum cm_err rc = io_endpoint_parse(&p, bound, e);
    if (rc || !is_everywhere(&p)) {
        snprintf(out, IO_ENDPOINT_BYTES, "%s", bound);
        return rc;
    }
    snprintf(p.host, sizeof p.host, "127.0.0.1"); /* whose coordinator is on this machine */
    if (strncmp(connect, "tcp://", strlen("tcp://")) == 0) {
        rc = io_nearby(connect, "", nearby, e);
        if (!rc)
            rc = io_endpoint_parse(&here, nearby, e);
        if (rc)
            return rc;
        memcpy(p.host, here.host, sizeof p.host);
    }
    io_endpoint_text(&p, out);
    return CM_OK;
}

enum cm_err wk_listen(struct io_socket **out, struct io_context *context,
                      const struct wk_giver_options *o, char endpoint[IO_ENDPOINT_BYTES],
                      struct cm_error *e)
{
    enum cm_err rc = o->listen ? bind_there(out, context, o, e) : bind_nearby(out, context, o, e);
    if (rc)
        return rc;
    rc = name_endpoint(io_socket_endpoint(*out), o->connect, endpoint, e);
    if (rc) {
        io_socket_free(*out);
        *out = NULL;
    }
    return rc;
}
