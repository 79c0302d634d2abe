/* test_giver.c: what a real worker gives to whoever asks, where it is to be found, and that nobody
 * who asks too much, too oddly, or without listening keeps it from the others. */
#include "common/checksum.h"
#include "proto/file/manifest.h"
#include "tests/support/boss.h"
#include "tests/support/cluster.h"
#include "tests/support/files.h"
#include "tests/support/random.h"
#include "worker/store/gallery.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20, ENDPOINT_BYTES = 160, WAIT_MS = 60000 };

/* A worker on the gallery "g" of one shard, which gives at `giver`. */
struct scene {
    struct test_cluster c;
    struct st_gallery gallery;
    char giver[ENDPOINT_BYTES];
};

/* Its HELLO, as it says it to a coordinator at c.endpoint; pr_hello_fini is the caller's. */
static void hear(struct scene *s, unsigned worker, struct pr_hello *hello, const char *const more[])
{
    struct test_boss boss;
    test_boss_init(&boss, s->c.endpoint);
    snprintf(s->c.endpoint, sizeof s->c.endpoint, "%s", boss.endpoint);
    test_worker_start(&s->c, worker, "g", NULL, more);
    test_boss_greet(&boss, hello);
    test_boss_fini(&boss);
}

static void init(struct scene *s, const char *scheme, const char *const more[])
{
    struct cm_error e;
    struct pr_hello hello;
    *s = (struct scene){.giver = ""};
    test_cluster_init(&s->c);
    test_import(&s->c, "g", &test_sample, 1, 1);
    cr_assert_eq(st_gallery_open(&s->gallery, test_cluster_path(&s->c, "g"), &e), CM_OK);
    if (strcmp(scheme, "ipc") == 0)
        snprintf(s->c.endpoint, sizeof s->c.endpoint, "ipc://%s/boss", s->c.dir);
    else
        snprintf(s->c.endpoint, sizeof s->c.endpoint, "tcp://127.0.0.1:0");
    hear(s, 0, &hello, more);
    snprintf(s->giver, sizeof s->giver, "%.150s", hello.endpoint);
    pr_hello_fini(&hello);
}

static void fini(struct scene *s)
{
    cr_assert(!io_child_poll(&s->c.workers[0].run.child), "the worker died");
    st_gallery_close(&s->gallery);
    test_cluster_fini(&s->c);
}

static struct pr_read read_of(const struct scene *s, uint64_t id, enum pr_file file,
                              uint64_t offset)
{
    return (struct pr_read){.id = {id},
                            .gallery = s->gallery.manifest.gallery,
                            .file = file,
                            .offset = offset,
                            .bytes = MIB};
}

/* What it gives of a file is that file. */
static void check_file(struct scene *s, struct test_peer *p, enum pr_file file, const char *name)
{
    char path[64];
    size_t size;
    struct test_message m;
    snprintf(path, sizeof path, "g/%s", name);
    char *bytes = test_read(test_cluster_path(&s->c, path), &size);
    for (uint64_t offset = 0, id = 7; offset <= size; offset += MIB, id++) {
        struct pr_read read = read_of(s, id, file, offset);
        struct pr_block block = test_read_block(p, &read, &m);
        uint64_t left = size - offset, due = left < MIB ? left : MIB;
        cr_assert_eq(block.id.v, id);
        cr_assert_eq(block.offset, offset);
        cr_assert_eq(block.file_bytes, size);
        cr_assert_eq(m.count, due > 0 ? 2 : 1);
        if (due > 0) {
            cr_assert_eq(m.frames[1].size, due);
            cr_assert_eq(memcmp(m.frames[1].data, bytes + offset, due), 0);
        }
        cr_assert_eq(block.payload_crc32c, cm_crc32c(0, bytes + offset, due));
        test_message_fini(&m);
    }
    free(bytes);
}

static void check_refused(struct test_peer *p, const struct pr_read *read, const char *text)
{
    struct test_message m;
    struct pr_block block = test_read_block(p, read, &m);
    cr_assert_eq(block.id.v, read->id.v);
    cr_assert_eq(block.file_bytes, 0);
    cr_assert_eq(m.count, 1);
    cr_assert(strstr(block.text, text) != NULL, "\"%s\" does not say \"%s\"", block.text, text);
    test_message_fini(&m);
}

Test(giver, gives_what_is_in_the_folder_and_nothing_else)
{
    struct scene s;
    struct test_peer p;
    struct test_message m;
    init(&s, "ipc", NULL);
    test_peer_dial(&p, s.giver);
    check_file(&s, &p, PR_FILE_MANIFEST, PR_MANIFEST_FILE);
    check_file(&s, &p, PR_FILE_WEIGHTS, PR_WEIGHTS_FILE);
    check_file(&s, &p, PR_FILE_SHARD, "shard-00000.vts");
    struct pr_read read = read_of(&s, 1, PR_FILE_SHARD, UINT64_C(1) << 40);
    struct pr_block beyond = test_read_block(&p, &read, &m);
    cr_assert_eq(beyond.file_bytes, s.gallery.manifest.shards[0].bytes);
    cr_assert_eq(m.count, 1);
    test_message_fini(&m);
    read = read_of(&s, 2, PR_FILE_SHARD, 0);
    read.shard.v = 1;
    check_refused(&p, &read, "no such shard");
    read = read_of(&s, 3, PR_FILE_MANIFEST, 0);
    read.gallery.bytes[3] ^= 1;
    check_refused(&p, &read, "another gallery");
    cr_assert_eq(rename(test_cluster_path(&s.c, "g/shard-00000.vts"),
                        test_cluster_path(&s.c, "g/elsewhere")),
                 0);
    read = read_of(&s, 4, PR_FILE_SHARD, 0);
    check_refused(&p, &read, "shard-00000.vts is not here");
    test_peer_fini(&p);
    fini(&s);
}

Test(giver, survives_noise)
{
    static unsigned char noise[600];
    struct scene s;
    struct test_peer p;
    struct test_random random = {5};
    init(&s, "ipc", NULL);
    test_peer_dial(&p, s.giver);
    for (unsigned i = 0; i < 500; i++) {
        size_t size = 1 + test_random_below(&random, sizeof noise);
        for (size_t j = 0; j < size; j++)
            noise[j] = (unsigned char)test_random_bits(&random);
        test_peer_say(&p, (struct cm_bytes){noise, size});
    }
    struct pr_read read = read_of(&s, 1, PR_FILE_SHARD, 0);
    struct pr_buffer packed;
    cr_assert_eq(pr_read_pack(&read, &packed, NULL), CM_OK);
    for (size_t cut = 1; cut < packed.size; cut++)
        test_peer_say(&p, (struct cm_bytes){packed.data, cut});
    pr_buffer_fini(&packed);
    check_file(&s, &p, PR_FILE_MANIFEST, PR_MANIFEST_FILE);
    char *log = test_run_err(&s.c.workers[0].run);
    cr_assert(strstr(log, "event=garbage at=giver") != NULL, "%s", log);
    free(log);
    test_peer_fini(&p);
    fini(&s);
}

/* The most memory that the worker ever held without its files, in MiB. */
static unsigned held_mib(const struct scene *s)
{
    char path[64], line[256];
    unsigned kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)s->c.workers[0].run.child.pid);
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL);
    while (kib == 0 && fgets(line, sizeof line, f))
        sscanf(line, "RssAnon: %u kB", &kib); /* NOLINT: the kernel's own text */
    fclose(f);
    return kib / 1024;
}

/* A READ of the shard's first bytes, on a connection made by hand. */
static void ask_by_hand(const struct scene *s, int fd, uint64_t id)
{
    struct pr_read read = read_of(s, id, PR_FILE_SHARD, 0);
    struct pr_buffer packed;
    cr_assert_eq(pr_read_pack(&read, &packed, NULL), CM_OK);
    cr_assert_leq(packed.size, 255);
    const unsigned char head[2] = {0, (unsigned char)packed.size};
    test_tcp_write(fd, head, sizeof head);
    test_tcp_write(fd, packed.data, packed.size);
    pr_buffer_fini(&packed);
}

/* Peers that ask for much and take nothing: each is given a little, and the others all the same. */
Test(giver, who_does_not_listen_has_little)
{
    enum { PEERS = 2, ROUNDS = 12, READS = 16 };
    struct scene s;
    struct test_peer p;
    int deaf[PEERS];
    init(&s, "tcp", NULL);
    unsigned before = held_mib(&s);
    for (unsigned i = 0; i < PEERS; i++)
        deaf[i] = test_zmtp_dial(s.giver);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < PEERS * READS; i++)
            ask_by_hand(&s, deaf[i % PEERS], i);
        test_peer_dial(&p, s.giver);
        check_file(&s, &p, PR_FILE_SHARD, "shard-00000.vts");
        test_peer_fini(&p);
    }
    unsigned grown = held_mib(&s) - before;
    if (!test_is_slow()) /* a sanitizer keeps what was freed for a while */
        cr_assert_leq(grown, PEERS * 3 * READS, "%u MiB are held for %d peers", grown, PEERS);
    for (unsigned i = 0; i < PEERS; i++)
        close(deaf[i]);
    fini(&s);
}

/* --- where it is ------------------------------------------------------------------------------ */

/* It says where others find it, and that is where it is. */
static void check_place(const char *scheme, const char *const more[], const char *begins)
{
    struct scene s;
    struct test_peer p;
    init(&s, scheme, more);
    cr_assert_eq(strncmp(s.giver, begins, strlen(begins)), 0, "it is at %s", s.giver);
    test_peer_dial(&p, s.giver);
    check_file(&s, &p, PR_FILE_MANIFEST, PR_MANIFEST_FILE);
    test_peer_fini(&p);
    fini(&s);
}

Test(giver, listens_beside_a_coordinator_on_tcp)
{
    check_place("tcp", NULL, "tcp://127.0.0.1:");
}

/* Everywhere is no address that others could dial. */
Test(giver, everywhere_has_a_name)
{
    check_place("tcp", (const char *const[]){"--insecure", "--listen", "tcp://*:0", NULL},
                "tcp://127.0.0.1:");
}

Test(giver, everywhere_has_a_name_also_beside_a_path)
{
    check_place("ipc", (const char *const[]){"--insecure", "--listen", "tcp://0.0.0.0:0", NULL},
                "tcp://127.0.0.1:");
}

/* A worker of the same name that hangs keeps its path; its successor begins all the same. */
Test(giver, a_successor_finds_a_path_of_its_own)
{
    struct scene s;
    struct test_peer p;
    struct pr_hello hello;
    char path[ENDPOINT_BYTES];
    init(&s, "ipc", NULL);
    snprintf(path, sizeof path, "%s.w0", s.c.endpoint);
    cr_assert_str_eq(s.giver, path);
    test_worker_signal(&s.c, 0, SIGSTOP);
    hear(&s, 1, &hello, (const char *const[]){"--node", "w0", NULL});
    cr_assert_eq(strncmp(hello.endpoint, path, strlen(path)), 0, "it is at %s", hello.endpoint);
    cr_assert_eq(hello.endpoint[strlen(path)], '.', "it is at %s", hello.endpoint);
    test_peer_dial(&p, hello.endpoint);
    check_file(&s, &p, PR_FILE_MANIFEST, PR_MANIFEST_FILE);
    test_peer_fini(&p);
    pr_hello_fini(&hello);
    test_worker_signal(&s.c, 0, SIGCONT);
    fini(&s);
}

/* A coordinator whose host has no name yet is waited for, as ever. */
Test(giver, waits_for_a_coordinator_without_a_name)
{
    struct test_cluster c;
    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, 1);
    snprintf(c.endpoint, sizeof c.endpoint, "tcp://nobody.invalid:7700");
    test_worker_start(&c, 0, "g", NULL, (const char *const[]){"--insecure", NULL});
    for (unsigned long long end = test_now_ms() + WAIT_MS;;) {
        char *log = test_run_err(&c.workers[0].run);
        bool said = strstr(log, "event=no_address") != NULL;
        cr_assert(!io_child_poll(&c.workers[0].run.child), "it ended: %s", log);
        cr_assert(test_now_ms() < end, "it says nothing: %s", log);
        free(log);
        if (said)
            break;
        test_sleep_ms(50);
    }
    test_worker_signal(&c, 0, SIGTERM);
    cr_assert_eq(test_finish(&c.workers[0].run, WAIT_MS), 0, "%s", c.workers[0].run.err);
    test_cluster_fini(&c);
}

Test(giver, a_path_that_is_too_long_is_said_before_anything_else)
{
    struct test_cluster c;
    char node[65];
    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, 1);
    memset(node, 'n', 64);
    node[64] = '\0';
    snprintf(c.endpoint, sizeof c.endpoint, "ipc://%s/a-path-of-some-length", c.dir);
    test_worker_start(&c, 0, "g", NULL, (const char *const[]){"--node", node, NULL});
    cr_assert_eq(test_finish(&c.workers[0].run, WAIT_MS), 64, "%s", c.workers[0].run.err);
    cr_assert(strstr(c.workers[0].run.err, "--listen ipc://PATH") != NULL, "%s",
              c.workers[0].run.err);
    test_cluster_fini(&c);
}
