/* test_map.c: the coordinator's state file reads back as it was written, and nothing else passes.
 */
#include "common/checksum.h"
#include "proto/file/map.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;

static char *example(void)
{
    struct pr_map_node nodes[] = {{"w0", false}, {"w-1.b", true}};
    struct pr_map_shard shards[] = {
        {.first_image = 0, .images = 40, .homes_count = 2, .homes = {1, 0}},
        {.homes_count = 1, .homes = {0}},
        {.first_image = 70, .images = 30},
    };
    struct pr_map m = {
        .epoch = 12,
        .replicas = 2,
        .has_gallery = true,
        .gallery = {{1, 2, 3}},
        .model = {{4, 5, 6}},
        .images = 100,
        .nodes_count = 2,
        .nodes = nodes,
        .shards_count = 3,
        .shards = shards,
    };
    char *text;
    cr_assert_eq(pr_map_write(&m, &text, &e), CM_OK, "%s", e.text);
    return text;
}

Test(map, reads_back_as_it_was_written)
{
    char *text = example(), *again;
    struct pr_map m;
    cr_assert_eq(pr_map_read(&m, text, strlen(text), &e), CM_OK, "%s", e.text);
    cr_assert(m.epoch == 12 && m.replicas == 2 && m.has_gallery && m.images == 100);
    cr_assert(m.nodes_count == 2 && m.nodes[1].draining && !m.nodes[0].draining);
    cr_assert_str_eq(m.nodes[1].name, "w-1.b");
    cr_assert(m.shards_count == 3 && m.shards[0].homes_count == 2 && m.shards[0].homes[0] == 1);
    cr_assert(m.shards[2].first_image == 70 && m.shards[2].images == 30);
    cr_assert_eq(pr_map_write(&m, &again, &e), CM_OK);
    cr_assert_str_eq(again, text);
    pr_map_fini(&m);
    free(text);
    free(again);
}

Test(map, may_be_of_no_gallery_yet)
{
    struct pr_map m = {.epoch = 1, .replicas = 3}, got;
    char *text;
    cr_assert_eq(pr_map_write(&m, &text, &e), CM_OK);
    cr_assert_eq(pr_map_read(&got, text, strlen(text), &e), CM_OK, "%s", e.text);
    cr_assert(got.epoch == 1 && got.replicas == 3 && !got.has_gallery);
    pr_map_fini(&got);
    free(text);
}

Test(map, no_bit_of_it_can_flip_unseen)
{
    char *text = example();
    size_t size = strlen(text);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        struct pr_map m;
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        enum cm_err rc = pr_map_read(&m, text, size, &e);
        cr_assert(rc != CM_OK, "bit %zu flipped unseen", bit);
        pr_map_fini(&m);
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++) {
        struct pr_map m;
        cr_assert_neq(pr_map_read(&m, text, cut, &e), CM_OK, "cut at %zu", cut);
        pr_map_fini(&m);
    }
    free(text);
}

/* Replaces `from` by `to` in the example and seals it anew: a file that only its rules can refuse.
 */
static void expect_refused(const char *from, const char *to, enum cm_err want, const char *why)
{
    char *text = example(), changed[4096];
    char *at = strstr(text, from);
    cr_assert(at != NULL, "no %s in the example", from);
    int body = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to,
                        at + strlen(from));
    body -= 22; /* the tail */
    snprintf(changed + body, sizeof changed - (size_t)body, ",\"crc32c\":\"%08" PRIx32 "\"}\n",
             cm_crc32c(0, changed, (size_t)body));
    struct pr_map m;
    enum cm_err rc = pr_map_read(&m, changed, strlen(changed), &e);
    cr_assert_eq(rc, want, "%s: %d %s", to, (int)rc, rc ? e.text : "was read");
    cr_assert(strstr(e.text, why) != NULL, "\"%s\" does not say \"%s\"", e.text, why);
    pr_map_fini(&m);
    free(text);
}

Test(map, each_rule_holds)
{
    expect_refused("vitrine-map", "vitrine-mob", CM_EFORMAT, "vitrine-mob");
    expect_refused("\"version\": 1", "\"version\": 2", CM_EVERSION, "version 2");
    expect_refused("\"replicas\": 2", "\"replicas\": 17", CM_EFORMAT, "replicas");
    expect_refused("\"epoch\": 12", "\"epoch\": -1", CM_EFORMAT, "epoch");
    expect_refused("\"w0\"", "\"w/0\"", CM_EFORMAT, "node 0");
    expect_refused("\"w0\"", "\"w-1.b\"", CM_EFORMAT, "comes twice");
    expect_refused("\"images\": 40", "\"images\": 101", CM_EFORMAT, "shard 0");
    expect_refused("\"first_image\": 70", "\"first_image\": 39", CM_EFORMAT, "shard 2");
    expect_refused("\"first_image\": 70", "\"first_image\": 71", CM_EFORMAT, "shard 2");
    expect_refused("1,\n    0", "1,\n    1", CM_EFORMAT, "twice");
    expect_refused("1,\n    0", "1,\n    2", CM_EFORMAT, "not listed");
    expect_refused("\"shards\"", "\"shreds\"", CM_EFORMAT, "shards");
    expect_refused("\"nodes\": [\n  {", "\"noodles\": [\n  {", CM_EFORMAT, "nodes");
    expect_refused("\"images\": 100", "\"images\": 0", CM_EFORMAT, "images");
}
