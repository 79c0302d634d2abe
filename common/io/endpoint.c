/* endpoint.c: see endpoint.h. */
#include "common/io/endpoint.h"

#include "common/io/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum cm_err fail_text(struct cm_error *e, const char *text, const char *what)
{
    return cm_fail(e, CM_EUSAGE, "\"%s\" %s; use tcp://HOST:PORT or ipc://PATH", text, what);
}

/* --- tcp -------------------------------------------------------------------------------------- */

static bool is_name(const char *host)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return host[strspn(host, allowed)] == '\0' && host[0] != '-';
}

/* An IPv6 address in brackets. */
static bool parse_ipv6(const char *host, struct in6_addr *out)
{
    char inner[INET6_ADDRSTRLEN];
    size_t n = strlen(host);
    if (n < 3 || n - 2 >= sizeof inner || host[0] != '[' || host[n - 1] != ']')
        return false;
    memcpy(inner, host + 1, n - 2);
    inner[n - 2] = '\0';
    return inet_pton(AF_INET6, inner, out) == 1;
}

static bool is_host(const char *host)
{
    struct in6_addr address;
    return strcmp(host, "*") == 0 || parse_ipv6(host, &address) || is_name(host);
}

/* Decimal digits alone, at most 65535; "*" is 0. */
static bool parse_port(const char *text, uint16_t *port)
{
    unsigned long value = 0;
    *port = 0;
    if (strcmp(text, "*") == 0)
        return true;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] != '\0')
        return false;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (unsigned long)(text[i] - '0');
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

static enum cm_err parse_tcp(struct io_endpoint *out, const char *rest, const char *text,
                             struct cm_error *e)
{
    const char *colon = strrchr(rest, ':');
    if (!colon || strchr(colon, ']'))
        return fail_text(e, text, "has no port");
    size_t n = (size_t)(colon - rest);
    if (n == 0)
        return fail_text(e, text, "has no host");
    if (n >= sizeof out->host)
        return fail_text(e, text, "has a host of more than 255 bytes");
    memcpy(out->host, rest, n);
    out->host[n] = '\0';
    if (!is_host(out->host))
        return fail_text(e, text, "has a bad host (IPv6 addresses stand in [brackets])");
    if (!parse_port(colon + 1, &out->port))
        return fail_text(e, text, "has a bad port (1 to 65535)");
    return CM_OK;
}

/* --- ipc and inproc --------------------------------------------------------------------------- */

static enum cm_err parse_path(struct io_endpoint *out, const char *path, const char *text,
                              struct cm_error *e)
{
    if (path[0] == '\0')
        return fail_text(e, text, "has no path");
    if (strlen(path) >= sizeof out->path)
        return cm_fail(e, CM_EUSAGE,
                       "\"%s\": the path has %zu bytes, and the system allows a socket %d; use a "
                       "shorter one, such as one under /tmp",
                       text, strlen(path), IO_IPC_PATH_BYTES - 1);
    if (out->scheme == IO_IPC && (path[0] == '@' || path[0] == '*'))
        return fail_text(e, text, "is no path of a file");
    memcpy(out->path, path, strlen(path) + 1);
    return CM_OK;
}

/* What follows `prefix` in `text`, or NULL. */
static const char *after(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

enum cm_err io_endpoint_parse(struct io_endpoint *out, const char *text, struct cm_error *e)
{
    const char *rest;
    *out = (struct io_endpoint){.scheme = IO_TCP};
    if ((rest = after(text, "tcp://")) != NULL)
        return parse_tcp(out, rest, text, e);
    if ((rest = after(text, "ipc://")) != NULL)
        out->scheme = IO_IPC;
    else if ((rest = after(text, "inproc://")) != NULL)
        out->scheme = IO_INPROC;
    else
        return fail_text(e, text, "is no endpoint");
    return parse_path(out, rest, text, e);
}

/* --- what an endpoint means ------------------------------------------------------------------- */

bool io_endpoint_is_local(const struct io_endpoint *p)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (p->scheme != IO_TCP || strcmp(p->host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, p->host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return parse_ipv6(p->host, &v6) && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool io_endpoint_is_ipv4(const struct io_endpoint *p)
{
    struct in_addr v4;
    return p->scheme == IO_TCP &&
           (strcmp(p->host, "localhost") == 0 || inet_pton(AF_INET, p->host, &v4) == 1);
}

char *io_endpoint_text(const struct io_endpoint *p, char out[IO_ENDPOINT_BYTES])
{
    const char *host = strcmp(p->host, "localhost") == 0 ? "127.0.0.1" : p->host;
    if (p->scheme == IO_TCP)
        snprintf(out, IO_ENDPOINT_BYTES, "tcp://%s:%u", host, p->port);
    else
        snprintf(out, IO_ENDPOINT_BYTES, "%s://%s", p->scheme == IO_IPC ? "ipc" : "inproc",
                 p->path);
    return out;
}

enum cm_err io_endpoint_check(const char *text, unsigned allow, struct cm_error *e)
{
    struct io_endpoint p;
    enum cm_err rc = io_endpoint_parse(&p, text, e);
    if (rc)
        return rc;
    if (p.scheme == IO_INPROC && !(allow & IO_ALLOW_INPROC))
        return fail_text(e, text, "stays within one process");
    if (p.scheme == IO_TCP && p.port == 0 && !(allow & IO_ALLOW_ANY_PORT))
        return fail_text(e, text, "has a bad port (1 to 65535)");
    if (!io_endpoint_is_local(&p) && !(allow & IO_ALLOW_INSECURE))
        return cm_fail(e, CM_EUSAGE,
                       "%s is reachable from other machines and there is no authentication yet: "
                       "add --insecure to accept that, or use 127.0.0.1 or ipc://",
                       text);
    return CM_OK;
}

enum cm_err io_endpoint_claim(const struct io_endpoint *p, int *lock_fd, struct cm_error *e)
{
    *lock_fd = -1;
    if (p->scheme != IO_IPC)
        return CM_OK;
    char lock_path[IO_IPC_PATH_BYTES + 8];
    snprintf(lock_path, sizeof lock_path, "%s.lock", p->path);
    enum cm_err rc = io_lock_file(lock_path, lock_fd, e);
    if (rc == CM_EBUSY)
        return cm_fail(e, CM_EBUSY, "another process listens on ipc://%s", p->path);
    if (rc)
        return cm_wrap(e, rc, "ipc://%s", p->path);
    struct stat st;
    if (lstat(p->path, &st) != 0 || S_ISSOCK(st.st_mode))
        return CM_OK;
    close(*lock_fd);
    *lock_fd = -1;
    return cm_fail(e, CM_EEXIST, "%s exists and is not a socket; remove it or use another path",
                   p->path);
}
