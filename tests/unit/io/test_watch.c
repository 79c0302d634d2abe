/* test_watch.c: sockets on the loop, where a naive watcher loses messages. */
#include "common/io/watch.h"
#include "tests/unit/io/scratch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <zmq.h>

enum { MS = 1000000, MESSAGES = 20000, PATIENCE_MS = 5000 };

struct fixture {
    struct scratch scratch;
    char path[128];
    struct io_loop *loop;
    struct io_context *context;
    struct io_socket *router;
    struct io_socket *dealer;
    struct io_watch *watch;
    struct io_timer *timer;
    struct io_timer *deadline;
    struct cm_peer peer;
    int received;
    int garbage;
    int out_of_order;
    int ticks;
    unsigned patience_ms;
    int enough; /* received + garbage at which the loop stops */
    bool close_at_first;
    atomic_bool all_done;
    struct cm_error garbage_error;
};

static void on_message(void *ctx, struct io_incoming *in)
{
    struct fixture *f = ctx;
    int number = -1;
    if (in->header.size == sizeof number)
        memcpy(&number, in->header.data, sizeof number);
    if (number != f->received)
        f->out_of_order++;
    f->peer = in->peer;
    f->received++;
    if (f->close_at_first)
        io_watch_close(f->watch);
    if (f->received + f->garbage >= f->enough)
        io_loop_stop(f->loop);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    struct fixture *f = ctx;
    f->garbage++;
    f->peer = *from;
    f->garbage_error = *e;
    if (f->received + f->garbage >= f->enough)
        io_loop_stop(f->loop);
}

static const struct io_watch_events events = {.on_message = on_message, .on_garbage = on_garbage};

static void new_fixture(struct fixture *f, int enough)
{
    struct cm_error e;
    *f = (struct fixture){.enough = enough, .patience_ms = 20000, .scratch = scratch_new()};
    scratch_path(&f->scratch, "ipc://", "r", f->path);
    cr_assert_eq(io_loop_new(&f->loop, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_context_new(&f->context, 1, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_router_bind(&f->router, f->context, f->path, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_watch_new(&f->watch, f->loop, f->router, &events, f, &e), CM_OK, "%s", e.text);
}

static void give_up(void *ctx)
{
    io_loop_stop(((struct fixture *)ctx)->loop);
}

/* A lost message must end the test, not hang it. */
static void run_loop(struct fixture *f)
{
    if (!f->deadline)
        cr_assert_eq(io_timer_new(&f->deadline, f->loop, give_up, f, NULL), CM_OK);
    io_timer_set(f->deadline, io_now_ns() + (uint64_t)f->patience_ms * MS);
    io_loop_run(f->loop);
}

static void free_fixture(struct fixture *f)
{
    io_loop_free(f->loop);
    io_context_free(f->context);
    scratch_end(&f->scratch);
}

static struct io_socket *connect_to(struct fixture *f)
{
    struct io_socket *s;
    cr_assert_eq(io_dealer_connect(&s, f->context, f->path, (struct cm_bytes){NULL, 0}, NULL),
                 CM_OK);
    cr_assert_eq(io_wait_send(s, PATIENCE_MS, NULL), CM_OK);
    return s;
}

static void take_all(struct io_socket *s)
{
    struct io_incoming in;
    while (io_recv(s, &in, NULL) == CM_OK)
        io_incoming_fini(&in);
}

/* Sends the numbers from 0 and takes what comes back, as fast as the queues allow. It closes only
 * when all have arrived: a connection whose other end still sends takes the queue down with it. */
static void *send_numbers(void *arg)
{
    struct fixture *f = arg;
    struct io_socket *s = connect_to(f);
    for (int i = 0; i < MESSAGES;) {
        if (io_send(s, NULL, (struct cm_bytes){&i, sizeof i}, NULL, NULL) == CM_OK)
            i++;
        else if (io_wait_send(s, PATIENCE_MS, NULL))
            break;
        take_all(s);
    }
    while (!atomic_load(&f->all_done)) {
        (void)io_wait(s, 1, NULL);
        take_all(s);
    }
    io_socket_free(s);
    return NULL;
}

static void on_tick(void *ctx)
{
    struct fixture *f = ctx;
    f->ticks++;
    for (int i = 0; i < 20 && f->peer.size > 0; i++)
        (void)io_send(f->router, &f->peer, (struct cm_bytes){"tick", 4}, NULL, NULL);
    io_timer_set(f->timer, io_now_ns() + 1 * MS);
}

Test(io_watch, loses_nothing_while_a_timer_sends)
{
    struct fixture f;
    pthread_t sender;
    new_fixture(&f, MESSAGES);
    cr_assert_eq(io_timer_new(&f.timer, f.loop, on_tick, &f, NULL), CM_OK);
    io_timer_set(f.timer, 0);
    cr_assert_eq(pthread_create(&sender, NULL, send_numbers, &f), 0);
    run_loop(&f);
    atomic_store(&f.all_done, true);
    pthread_join(sender, NULL);
    cr_assert_eq(f.received, (int)MESSAGES);
    cr_assert_eq(f.out_of_order, 0);
    cr_assert(f.ticks >= 3, "timers had their turn: %d", f.ticks);
    free_fixture(&f);
}

/* A message comes in, and a send takes its edge: the descriptor stays silent from here on. */
static void swallow_edge(void *ctx)
{
    struct fixture *f = ctx;
    struct cm_peer nobody = {.size = 1, .bytes = "?"};
    int number = 0;
    cr_assert_eq(io_send(f->dealer, NULL, (struct cm_bytes){&number, sizeof number}, NULL, NULL),
                 CM_OK);
    cr_assert_eq(io_wait(f->router, PATIENCE_MS, NULL), CM_OK);
    (void)io_send(f->router, &nobody, (struct cm_bytes){"x", 1}, NULL, NULL);
}

Test(io_watch, needs_no_edge)
{
    struct fixture f;
    new_fixture(&f, 1);
    f.dealer = connect_to(&f);
    f.patience_ms = 2000;
    cr_assert_eq(io_timer_new(&f.timer, f.loop, swallow_edge, &f, NULL), CM_OK);
    io_timer_set(f.timer, io_now_ns() + 50 * MS); /* the connection's own edges are past */
    uint64_t begin_ns = io_now_ns();
    run_loop(&f);
    cr_assert_eq(f.received, 1);
    cr_assert(io_now_ns() - begin_ns < 1000ull * MS, "it waited for something else to happen");
    io_socket_free(f.dealer);
    free_fixture(&f);
}

Test(io_watch, garbage_is_told_apart)
{
    struct fixture f;
    new_fixture(&f, 2);
    void *zmq = zmq_ctx_new();
    void *raw = zmq_socket(zmq, ZMQ_DEALER);
    int number = 0, linger = 0;
    zmq_setsockopt(raw, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(raw, ZMQ_ROUTING_ID, "raw", 3);
    cr_assert_eq(zmq_connect(raw, f.path), 0);
    for (int i = 0; i < 9; i++)
        zmq_send(raw, "f", 1, i < 8 ? ZMQ_SNDMORE : 0);
    zmq_send(raw, &number, sizeof number, 0);
    run_loop(&f);
    cr_assert_eq(f.garbage, 1);
    cr_assert_eq(f.received, 1);
    cr_assert_eq(f.out_of_order, 0);
    cr_assert_str_eq(f.garbage_error.text, "a message of more than 4 frames");
    cr_assert_eq(memcmp(f.peer.bytes, "raw", 3), 0);
    zmq_close(raw);
    zmq_ctx_term(zmq);
    free_fixture(&f);
}

Test(io_watch, can_be_closed_in_its_own_callback)
{
    struct fixture f;
    new_fixture(&f, 1000);
    f.close_at_first = true;
    struct io_socket *s = connect_to(&f);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(io_send(s, NULL, (struct cm_bytes){&i, sizeof i}, NULL, NULL), CM_OK);
    io_loop_run(f.loop); /* ends by itself: nothing is open */
    cr_assert_eq(f.received, 1);
    io_socket_free(s);
    free_fixture(&f);
}

Test(io_watch, two_sockets_share_a_loop)
{
    struct fixture f;
    struct io_socket *dealers[5];
    new_fixture(&f, 1 << 30);
    for (int i = 0; i < 5; i++)
        dealers[i] = connect_to(&f);
    /* What the second hears: its own router, the same loop. */
    struct fixture g = {.loop = f.loop, .context = f.context, .enough = 5};
    scratch_path(&f.scratch, "ipc://", "g", g.path);
    cr_assert_eq(io_router_bind(&g.router, f.context, g.path, NULL), CM_OK);
    cr_assert_eq(io_watch_new(&g.watch, f.loop, g.router, &events, &g, NULL), CM_OK);
    struct io_socket *other = connect_to(&g);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(io_send(dealers[i], NULL, (struct cm_bytes){&i, sizeof i}, NULL, NULL), CM_OK);
        cr_assert_eq(io_send(other, NULL, (struct cm_bytes){&i, sizeof i}, NULL, NULL), CM_OK);
    }
    run_loop(&f);
    f.enough = 5;
    if (f.received < 5)
        run_loop(&f);
    cr_assert_eq(f.received, 5);
    cr_assert_eq(g.received, 5);
    cr_assert_eq(g.out_of_order, 0);
    io_socket_free(other);
    for (int i = 0; i < 5; i++)
        io_socket_free(dealers[i]);
    free_fixture(&f);
}
