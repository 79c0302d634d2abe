/* nearby.c: see nearby.h. */
#include "common/io/nearby.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The text of our side of a connected socket, with a port of the system's choice. */
static enum cm_err local_text(int fd, char out[IO_ENDPOINT_BYTES], struct cm_error *e)
{
    struct sockaddr_storage local;
    socklen_t bytes = sizeof local;
    char host[INET6_ADDRSTRLEN];
    if (getsockname(fd, (struct sockaddr *)&local, &bytes) != 0)
        return cm_fail_errno(e, errno, "cannot tell this machine's own address");
    bool six = local.ss_family == AF_INET6;
    const void *address = six ? (const void *)&((struct sockaddr_in6 *)&local)->sin6_addr
                              : (const void *)&((struct sockaddr_in *)&local)->sin_addr;
    if (!inet_ntop(local.ss_family, address, host, sizeof host))
        return cm_fail_errno(e, errno, "cannot write down this machine's own address");
    snprintf(out, IO_ENDPOINT_BYTES, six ? "tcp://[%s]:0" : "tcp://%s:0", host);
    return CM_OK;
}

/* Connecting a datagram socket only picks a route. */
static enum cm_err route(const struct addrinfo *to, char out[IO_ENDPOINT_BYTES], struct cm_error *e)
{
    int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return cm_fail_errno(e, errno, "cannot make a socket");
    enum cm_err rc = CM_OK;
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0)
        rc = cm_fail(e, CM_EUNAVAIL, "no route: %s", strerror(errno));
    if (!rc)
        rc = local_text(fd, out, e);
    close(fd);
    return rc;
}

static enum cm_err near_tcp(const struct io_endpoint *p, char out[IO_ENDPOINT_BYTES],
                            struct cm_error *e)
{
    const struct addrinfo hints = {.ai_family = io_endpoint_is_ipv4(p) ? AF_INET : AF_UNSPEC,
                                   .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    char host[IO_HOST_BYTES], port[8];
    size_t n = strlen(p->host);
    bool bracketed = n > 2 && p->host[0] == '[';
    snprintf(host, sizeof host, "%.*s", (int)(bracketed ? n - 2 : n), p->host + bracketed);
    snprintf(port, sizeof port, "%u", p->port);
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return cm_fail(e, CM_EUNAVAIL, "%s: %s", p->host, gai_strerror(rc));
    enum cm_err got = route(found, out, e);
    freeaddrinfo(found);
    return got ? cm_wrap(e, got, "%s", p->host) : CM_OK;
}

enum cm_err io_nearby(const char *dialled, const char *name, char out[IO_ENDPOINT_BYTES],
                      struct cm_error *e)
{
    struct io_endpoint p;
    enum cm_err rc = io_endpoint_parse(&p, dialled, e);
    if (rc)
        return rc;
    if (p.scheme == IO_TCP)
        return near_tcp(&p, out, e);
    if (strlen(p.path) + 1 + strlen(name) >= IO_IPC_PATH_BYTES)
        return cm_fail(e, CM_EUSAGE,
                       "%s.%s is longer than the %u bytes that the path of a socket may have: say "
                       "--listen ipc://PATH, or choose a shorter --node",
                       p.path, name, IO_IPC_PATH_BYTES - 1);
    snprintf(out, IO_ENDPOINT_BYTES, "%s://%s.%s", p.scheme == IO_IPC ? "ipc" : "inproc", p.path,
             name);
    return CM_OK;
}
