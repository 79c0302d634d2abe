/* test_endpoint.c: what people type, and what it opens to whom. */
#include "common/io/endpoint.h"
#include "tests/unit/io/scratch.h"

#include <sys/socket.h>
#include <sys/un.h>

Test(io_endpoint, parts)
{
    struct io_endpoint p;
    char text[IO_ENDPOINT_BYTES];
    cr_assert_eq(io_endpoint_parse(&p, "tcp://gallery-0.example:7000", NULL), CM_OK);
    cr_assert_eq(p.scheme, IO_TCP);
    cr_assert_str_eq(p.host, "gallery-0.example");
    cr_assert_eq(p.port, 7000);
    cr_assert_str_eq(io_endpoint_text(&p, text), "tcp://gallery-0.example:7000");
    cr_assert_eq(io_endpoint_parse(&p, "tcp://[::1]:65535", NULL), CM_OK);
    cr_assert_str_eq(p.host, "[::1]");
    cr_assert_eq(p.port, 65535);
    cr_assert_eq(io_endpoint_parse(&p, "ipc://run/a.sock", NULL), CM_OK);
    cr_assert_eq(p.scheme, IO_IPC);
    cr_assert_str_eq(p.path, "run/a.sock");
    cr_assert_str_eq(io_endpoint_text(&p, text), "ipc://run/a.sock");
    cr_assert_eq(io_endpoint_parse(&p, "tcp://localhost:*", NULL), CM_OK);
    cr_assert_str_eq(io_endpoint_text(&p, text), "tcp://127.0.0.1:0");
    cr_assert_eq(io_endpoint_parse(&p, "tcp://127.0.0.1:65536", NULL), CM_EUSAGE);
}

Test(io_endpoint, local_ones_pass)
{
    static const char *const texts[] = {
        "tcp://127.0.0.1:1",   "tcp://127.9.8.7:7000", "tcp://[::1]:7000",
        "tcp://localhost:700", "ipc:///tmp/x",         "ipc://x",
    };
    struct cm_error e;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cr_assert_eq(io_endpoint_check(texts[i], 0, &e), CM_OK, "%s", e.text);
}

Test(io_endpoint, family)
{
    static const struct {
        const char *text;
        bool ipv4;
    } cases[] = {
        {"tcp://127.0.0.1:7", true}, {"tcp://0.0.0.0:7", true}, {"tcp://localhost:7", true},
        {"tcp://[::1]:7", false},    {"tcp://*:7", false},      {"tcp://coordinator:7", false},
        {"ipc://127.0.0.1", false},
    };
    struct io_endpoint p;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(io_endpoint_parse(&p, cases[i].text, NULL), CM_OK);
        cr_assert_eq(io_endpoint_is_ipv4(&p), cases[i].ipv4, "%s", cases[i].text);
    }
}

Test(io_endpoint, others_need_a_word)
{
    static const char *const texts[] = {
        "tcp://0.0.0.0:7000",  "tcp://*:7000",        "tcp://[::]:7000",
        "tcp://10.0.0.1:7000", "tcp://coordinator:7", "tcp://127.0.0.1.example.com:7",
        "tcp://128.0.0.1:700", "tcp://[::2]:7",       "tcp://localhost.example:7",
        "tcp://127.1:7",
    };
    struct cm_error e;
    char expected[256];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_assert_eq(io_endpoint_check(texts[i], 0, &e), CM_EUSAGE, "%s", texts[i]);
        snprintf(expected, sizeof expected,
                 "%s is reachable from other machines and there is no authentication yet: add "
                 "--insecure to accept that, or use 127.0.0.1 or ipc://",
                 texts[i]);
        cr_assert_str_eq(e.text, expected);
        cr_assert_eq(io_endpoint_check(texts[i], IO_ALLOW_INSECURE, &e), CM_OK, "%s", e.text);
    }
}

Test(io_endpoint, mistakes_are_named)
{
    static const struct {
        const char *text, *what;
    } cases[] = {
        {"", "\"\" is no endpoint"},
        {"127.0.0.1:7000", "\"127.0.0.1:7000\" is no endpoint"},
        {"udp://127.0.0.1:1", "\"udp://127.0.0.1:1\" is no endpoint"},
        {"tcp://127.0.0.1", "\"tcp://127.0.0.1\" has no port"},
        {"tcp://[::1]", "\"tcp://[::1]\" has no port"},
        {"tcp://:7000", "\"tcp://:7000\" has no host"},
        {"tcp://127.0.0.1:", "\"tcp://127.0.0.1:\" has a bad port (1 to 65535)"},
        {"tcp://127.0.0.1:65536", "\"tcp://127.0.0.1:65536\" has a bad port (1 to 65535)"},
        {"tcp://127.0.0.1:99999999999",
         "\"tcp://127.0.0.1:99999999999\" has a bad port (1 to 65535)"},
        {"tcp://127.0.0.1:0", "\"tcp://127.0.0.1:0\" has a bad port (1 to 65535)"},
        {"tcp://127.0.0.1:*", "\"tcp://127.0.0.1:*\" has a bad port (1 to 65535)"},
        {"tcp://127.0.0.1:7x", "\"tcp://127.0.0.1:7x\" has a bad port (1 to 65535)"},
        {"tcp://127.0.0.1:-1", "\"tcp://127.0.0.1:-1\" has a bad port (1 to 65535)"},
        {"tcp://::1:7", "\"tcp://::1:7\" has a bad host (IPv6 addresses stand in [brackets])"},
        {"tcp://[::g]:7", "\"tcp://[::g]:7\" has a bad host (IPv6 addresses stand in [brackets])"},
        {"tcp://a b:7", "\"tcp://a b:7\" has a bad host (IPv6 addresses stand in [brackets])"},
        {"tcp://a;b:7", "\"tcp://a;b:7\" has a bad host (IPv6 addresses stand in [brackets])"},
        {"ipc://", "\"ipc://\" has no path"},
        {"ipc://@x", "\"ipc://@x\" is no path of a file"},
        {"ipc://*", "\"ipc://*\" is no path of a file"},
        {"inproc://x", "\"inproc://x\" stays within one process"},
    };
    struct cm_error e;
    char expected[256];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(io_endpoint_check(cases[i].text, IO_ALLOW_INSECURE, &e), CM_EUSAGE, "%s",
                     cases[i].text);
        snprintf(expected, sizeof expected, "%s; use tcp://HOST:PORT or ipc://PATH", cases[i].what);
        cr_assert_str_eq(e.text, expected);
    }
}

Test(io_endpoint, allowances)
{
    cr_assert_eq(io_endpoint_check("tcp://127.0.0.1:0", IO_ALLOW_ANY_PORT, NULL), CM_OK);
    cr_assert_eq(io_endpoint_check("tcp://127.0.0.1:*", IO_ALLOW_ANY_PORT, NULL), CM_OK);
    cr_assert_eq(io_endpoint_check("inproc://x", IO_ALLOW_INPROC, NULL), CM_OK);
    cr_assert_eq(io_endpoint_check("tcp://*:0", IO_ALLOW_ANY_PORT, NULL), CM_EUSAGE);
}

Test(io_endpoint, long_paths)
{
    char text[6 + 108 + 1] = "ipc://";
    struct cm_error e;
    memset(text + 6, 'p', 107);
    cr_assert_eq(io_endpoint_check(text, 0, &e), CM_OK, "%s", e.text);
    text[6 + 107] = 'p';
    cr_assert_eq(io_endpoint_check(text, 0, &e), CM_EUSAGE);
    cr_assert(strstr(e.text, "the path has 108 bytes, and the system allows a socket 107"), "%s",
              e.text);
    char host[300] = "tcp://";
    memset(host + 6, 'h', 256);
    memcpy(host + 6 + 256, ":7", sizeof ":7");
    cr_assert_eq(io_endpoint_check(host, 1, &e), CM_EUSAGE);
    cr_assert(strstr(e.text, "has a host of more than 255 bytes"), "%s", e.text);
}

/* A socket file that nobody listens on. */
static void leave_stale_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cr_assert(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

Test(io_endpoint, a_path_is_claimed_once)
{
    struct scratch s = scratch_new();
    char text[128], path[128], expected[256];
    struct io_endpoint p;
    struct cm_error e;
    int fd, second;
    leave_stale_socket(scratch_path(&s, "", "x", path));
    cr_assert_eq(io_endpoint_parse(&p, scratch_path(&s, "ipc://", "x", text), &e), CM_OK);
    cr_assert_eq(io_endpoint_claim(&p, &fd, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_endpoint_claim(&p, &second, &e), CM_EBUSY);
    snprintf(expected, sizeof expected, "another process listens on %s", text);
    cr_assert_str_eq(e.text, expected);
    cr_assert_eq(second, -1);
    close(fd);
    scratch_end(&s);
}

Test(io_endpoint, another_file_is_left_alone)
{
    struct scratch s = scratch_new();
    char text[128], path[128], expected[256];
    struct io_endpoint p;
    struct cm_error e;
    int fd;
    write_file(scratch_path(&s, "", "data.csv", path), "x", 1);
    cr_assert_eq(io_endpoint_parse(&p, scratch_path(&s, "ipc://", "data.csv", text), &e), CM_OK);
    cr_assert_eq(io_endpoint_claim(&p, &fd, &e), CM_EEXIST);
    snprintf(expected, sizeof expected,
             "%s exists and is not a socket; remove it or use another path", path);
    cr_assert_str_eq(e.text, expected);
    cr_assert_eq(fd, -1);
    cr_assert_eq(io_endpoint_parse(&p, "ipc:///none/x", &e), CM_OK);
    cr_assert_eq(io_endpoint_claim(&p, &fd, &e), CM_ENOENT);
    cr_assert_str_eq(e.text, "ipc:///none/x: cannot open the lock file /none/x.lock: "
                             "No such file or directory");
    scratch_end(&s);
}
