/* test_nearby.c: where who dials an endpoint can itself be reached. */
#include "common/io/nearby.h"
#include "common/io/socket.h"
#include "tests/unit/io/scratch.h"

/* Checks what io_nearby says, and that nothing but a port of the system's choice is asked for. */
static void expect(const char *dialled, const char *nearby)
{
    char out[IO_ENDPOINT_BYTES];
    struct cm_error e;
    cr_assert_eq(io_nearby(dialled, "w0", out, &e), CM_OK, "%s: %s", dialled, e.text);
    cr_assert_str_eq(out, nearby);
    cr_assert_eq(io_endpoint_check(out, IO_ALLOW_ANY_PORT | IO_ALLOW_INPROC, &e), CM_OK, "%s",
                 e.text);
}

Test(io_nearby, a_path_has_the_name_behind_it)
{
    expect("ipc:///run/vitrine/socket", "ipc:///run/vitrine/socket.w0");
    expect("ipc://socket", "ipc://socket.w0");
    expect("inproc://here", "inproc://here.w0");
}

/* The way to this machine begins at this machine. */
Test(io_nearby, the_address_towards_the_other)
{
    expect("tcp://127.0.0.1:7000", "tcp://127.0.0.1:0");
    expect("tcp://localhost:1", "tcp://127.0.0.1:0");
}

/* Where this machine has the other protocol. */
Test(io_nearby, the_other_protocol)
{
    char out[IO_ENDPOINT_BYTES];
    struct cm_error e;
    enum cm_err rc = io_nearby("tcp://[::1]:7000", "w0", out, &e);
    if (rc == CM_EUNAVAIL || rc == CM_EIO)
        fprintf(stderr, "no IPv6 here: %s\n", e.text);
    else
        cr_assert_str_eq(out, "tcp://[::1]:0", "%s", e.text);
}

/* What it says can be listened on, and dialled by the port that was picked. */
Test(io_nearby, can_be_listened_on)
{
    char out[IO_ENDPOINT_BYTES];
    struct io_context *context;
    struct io_socket *router, *dealer;
    struct cm_bytes any = {NULL, 0};
    struct cm_error e;
    cr_assert_eq(io_nearby("tcp://127.0.0.1:7000", "w0", out, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_context_new(&context, 1, &e), CM_OK);
    cr_assert_eq(io_router_bind(&router, context, out, &e), CM_OK, "%s", e.text);
    const char *listens = io_socket_endpoint(router);
    cr_assert_eq(io_endpoint_check(listens, 0, &e), CM_OK, "%s: %s", listens, e.text);
    cr_assert_eq(io_dealer_connect(&dealer, context, listens, any, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_wait_send(dealer, 10000, &e), CM_OK, "nobody listens at %s", listens);
    io_socket_free(dealer);
    io_socket_free(router);
    io_context_free(context);
}

/* The longest path that fits, and one byte more: whole, or not at all. */
Test(io_nearby, a_path_that_gets_too_long)
{
    char dialled[IO_ENDPOINT_BYTES], out[IO_ENDPOINT_BYTES], path[IO_IPC_PATH_BYTES];
    struct cm_error e;
    for (size_t bytes = IO_IPC_PATH_BYTES - 6; bytes < IO_IPC_PATH_BYTES; bytes++) {
        memset(path, 'p', bytes);
        path[bytes] = '\0';
        snprintf(dialled, sizeof dialled, "ipc://%s", path);
        enum cm_err rc = io_nearby(dialled, "w0", out, &e);
        bool fits = bytes + 3 < IO_IPC_PATH_BYTES; /* ".w0" and a NUL */
        cr_assert_eq(rc, fits ? CM_OK : CM_EUSAGE, "%zu bytes", bytes);
        if (fits) {
            cr_assert_eq(strlen(out), strlen("ipc://") + bytes + 3);
            cr_assert_eq(io_endpoint_check(out, 0, &e), CM_OK, "%s", e.text);
        } else {
            cr_assert(strstr(e.text, "--listen ipc://PATH, or choose a shorter --node") != NULL,
                      "%s", e.text);
        }
    }
}

Test(io_nearby, nowhere)
{
    char out[IO_ENDPOINT_BYTES];
    struct cm_error e;
    cr_assert_eq(io_nearby("127.0.0.1:7000", "w0", out, &e), CM_EUSAGE);
    cr_assert_eq(io_nearby("tcp://no-such-host.invalid:7000", "w0", out, &e), CM_EUNAVAIL);
    cr_assert(strstr(e.text, "no-such-host.invalid") != NULL, "%s", e.text);
}
