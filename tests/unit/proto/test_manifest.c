/* The manifest: there and back, and what is refused. */
#include "common/checksum.h"
#include "common/geometry.h"
#include "proto/file/manifest.h"
#include "tests/support/golden.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 4096, SHARDS = 3 };

static struct cm_error e;

/* A gallery of 70 images; `shards` is the caller's. */
static struct pr_manifest new_manifest(struct pr_manifest_shard shards[SHARDS])
{
    struct pr_manifest m = {
        .geometry = {CM_TRANSMATCHER, 5, 3, 20, 2, 33},
        .precision = CM_F32,
        .images_per_block = 256,
        .shards_count = SHARDS,
        .images = 70,
        .shards = shards,
    };
    for (size_t i = 0; i < sizeof m.model.bytes; i++)
        m.model.bytes[i] = (uint8_t)(i * 17);
    for (size_t i = 0; i < SHARDS; i++) {
        shards[i] = (struct pr_manifest_shard){.images = 20 + 5 * i - (i == 2 ? 5 : 0)};
        shards[i].bytes = 100000 + i;
        memset(shards[i].content.bytes, (int)(0xa0 + i), sizeof shards[i].content.bytes);
    }
    cr_assert_eq(pr_manifest_fingerprint(&m, &m.gallery, &e), CM_OK);
    return m;
}

static char *new_text(void)
{
    struct pr_manifest_shard shards[SHARDS];
    struct pr_manifest m = new_manifest(shards);
    char *text;
    cr_assert_eq(pr_manifest_write(&m, &text, &e), CM_OK, "%s", e.text);
    return text;
}

static enum cm_err read_text(const char *text, size_t size)
{
    struct pr_manifest m;
    e.text[0] = '\0';
    enum cm_err rc = pr_manifest_read(&m, text, size, &e);
    pr_manifest_fini(&m);
    return rc;
}

/* The manifest with `from` replaced by `to` and its checksum made right again. */
static void assert_change_refused(const char *from, const char *to, enum cm_err code,
                                  const char *part)
{
    const size_t tail = strlen(",\"crc32c\":\"00000000\"}\n");
    char *text = new_text(), changed[TEXT_BYTES];
    char *at = strstr(text, from);
    cr_assert(at != NULL, "no %s in %s", from, text);
    text[strlen(text) - tail] = '\0';
    int n = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to,
                     at + strlen(from));
    uint32_t crc = cm_crc32c(0, changed, (size_t)n);
    n += snprintf(changed + n, sizeof changed - (size_t)n, ",\"crc32c\":\"%08" PRIx32 "\"}\n", crc);
    cr_assert(n < TEXT_BYTES);
    cr_assert_eq(read_text(changed, (size_t)n), code, "%s: %s", to, e.text);
    cr_assert(strstr(e.text, part) != NULL, "expected \"%s\" in: %s", part, e.text);
    free(text);
}

Test(manifest, is_read_back_as_written)
{
    struct pr_manifest_shard shards[SHARDS];
    struct pr_manifest m = new_manifest(shards), got;
    char *text;
    cr_assert_eq(pr_manifest_write(&m, &text, &e), CM_OK);
    cr_assert_eq(pr_manifest_read(&got, text, strlen(text), &e), CM_OK, "%s", e.text);
    cr_assert(cm_geometry_equal(&got.geometry, &m.geometry));
    cr_assert(got.precision == m.precision && got.images_per_block == m.images_per_block);
    cr_assert(got.shards_count == m.shards_count && got.images == m.images);
    cr_assert(cm_fingerprint_equal(&got.model, &m.model));
    cr_assert(cm_fingerprint_equal(&got.gallery, &m.gallery));
    for (size_t i = 0; i < SHARDS; i++) {
        cr_assert(got.shards[i].images == shards[i].images);
        cr_assert(got.shards[i].bytes == shards[i].bytes);
        cr_assert(cm_fingerprint_equal(&got.shards[i].content, &shards[i].content));
    }
    char *again;
    cr_assert_eq(pr_manifest_write(&got, &again, &e), CM_OK);
    cr_assert_str_eq(again, text);
    pr_manifest_fini(&got);
    pr_manifest_fini(&got);
    free(again);
    free(text);
}

Test(manifest, of_a_qaconv_has_no_ff)
{
    struct pr_manifest_shard shards[SHARDS];
    struct pr_manifest m = new_manifest(shards), got;
    char *text;
    m.geometry = (struct cm_geometry){CM_QACONV, 24, 8, 128, 1, 0};
    cr_assert_eq(pr_manifest_write(&m, &text, &e), CM_OK);
    cr_assert_eq(pr_manifest_read(&got, text, strlen(text), &e), CM_OK, "%s", e.text);
    cr_assert(cm_geometry_equal(&got.geometry, &m.geometry));
    pr_manifest_fini(&got);
    free(text);
}

Test(manifest, every_flipped_bit_is_refused)
{
    char *text = new_text();
    size_t size = strlen(text);
    cr_assert_eq(read_text(text, size), CM_OK);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        text[bit / 8] ^= (char)(1u << bit % 8);
        cr_assert_eq(read_text(text, size), CM_ECORRUPT, "bit %zu", bit);
        text[bit / 8] ^= (char)(1u << bit % 8);
    }
    cr_assert_str_eq(e.text, "the checksum at its end does not match the rest of it");
    free(text);
}

Test(manifest, one_cut_short_or_with_more_behind_it_is_refused)
{
    char *text = new_text(), longer[TEXT_BYTES];
    size_t size = strlen(text);
    for (size_t n = 0; n < size; n++)
        cr_assert_eq(read_text(text, n), CM_ECORRUPT, "%zu bytes", n);
    int n = snprintf(longer, sizeof longer, "%s\n", text);
    cr_assert_eq(read_text(longer, (size_t)n), CM_ECORRUPT);
    free(text);
}

Test(manifest, says_which_field_is_wrong)
{
    static const struct {
        const char *from, *to;
        enum cm_err code;
        const char *part;
    } rows[] = {
        {"vitrine-gallery", "something", CM_EFORMAT,
         "\"format\" is \"something\", not \"vitrine-gallery\""},
        {"\"format\"", "\"formal\"", CM_EFORMAT, "\"format\" is missing or no string"},
        {"\"version\": 1", "\"version\": 2", CM_EVERSION,
         "gallery format version 2; this program reads version 1"},
        {"\"version\": 1", "\"version\": \"1\"", CM_EVERSION, "gallery format version 0"},
        {"\"transmatcher\"", "\"cosine\"", CM_EFORMAT, "unknown matcher 0"},
        {"\"transmatcher\"", "7", CM_EFORMAT, "\"matcher\" is missing or no string"},
        {"\"f32\"", "\"int4\"", CM_EVERSION, "unknown precision \"int4\""},
        {"\"height\": 5", "\"height\": 0", CM_EFORMAT, "\"height\" is not a whole number from 1"},
        {"\"width\": 3", "\"width\": 513", CM_EFORMAT,
         "\"width\" is not a whole number from 1 to 512"},
        {"\"channels\": 20", "\"channels\": -20", CM_EFORMAT, "\"channels\" is not"},
        {"\"layers\": 2", "\"layers\": 2.0", CM_EFORMAT, "\"layers\" is not"},
        {"\"ff\": 33", "\"ff\": null", CM_EFORMAT, "\"ff\" is not"},
        {"\"height\": 5,\n \"width\": 3", "\"height\": 512,\n \"width\": 512", CM_ELIMIT,
         "262144 tokens"},
        {"\"images_per_block\": 256", "\"images_per_block\": 257", CM_EFORMAT, "from 1 to 256"},
        {"\"weights\": \"weights.vtw\"", "\"weights\": \"weights.vtw\",\"images\": 70", CM_EFORMAT,
         "duplicate object key"},
        {"\"bytes\": 100001", "\"bytes\": 100001,\"bytes\": 1", CM_EFORMAT, "duplicate object key"},
        {"\"bytes\": 100001", "\"bytes\": 0", CM_EFORMAT, "shard 1: \"bytes\" is not"},
        {"\"bytes\": 100001", "\"bytes\": true", CM_EFORMAT, "shard 1: \"bytes\" is not"},
        {"\"content\": \"a1", "\"content\": \"A1", CM_EFORMAT,
         "shard 1: \"content\" is not 32 hex"},
        {"\"content\": \"a1", "\"content\": \"", CM_EFORMAT, "shard 1: \"content\" is not 32 hex"},
        {"\"model\": \"00", "\"model\": \"", CM_EFORMAT, "\"model\" is not 32 hex digits"},
        {"{\n", "[\n", CM_EFORMAT, "line "},
        {"\"shards\"", "\"shard\"", CM_EFORMAT, "\"shards\" is not a list of 1 to 65536"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_change_refused(rows[i].from, rows[i].to, rows[i].code, rows[i].part);
}

Test(manifest, huge_counts_are_refused)
{
    static const char *const huge[] = {"1099511627777",
                                       "9223372036854775807",
                                       "9223372036854775808",
                                       "18446744073709551616",
                                       "-9223372036854775808",
                                       "1e300",
                                       "1e999"};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        char to[64];
        snprintf(to, sizeof to, "\"images\": %s", huge[i]);
        assert_change_refused("\"images\": 70", to, CM_EFORMAT, "");
        assert_change_refused("\"images\": 20", to, CM_EFORMAT, "");
        snprintf(to, sizeof to, "\"height\": %s", huge[i]);
        assert_change_refused("\"height\": 5", to, CM_EFORMAT, "");
    }
    assert_change_refused("\"images\": 70", "\"images\": 1099511627777", CM_EFORMAT,
                          "\"images\" is not a whole number from 1 to 1099511627776");
    assert_change_refused("\"images\": 20", "\"images\": 9223372036854775808", CM_EFORMAT,
                          "too big integer");
}

Test(manifest, shards_that_do_not_add_up_are_refused)
{
    assert_change_refused("\"images\": 70", "\"images\": 71", CM_EFORMAT,
                          "the shards hold 70 images, \"images\" says 71");
    assert_change_refused("\"images\": 20", "\"images\": 19", CM_EFORMAT,
                          "the shards hold 69 images, \"images\" says 70");
    assert_change_refused("\"images\": 20", "\"images\": 1099511627776", CM_EFORMAT,
                          "the shards hold 1099511627826 images");
}

Test(manifest, a_fingerprint_that_is_not_its_own_is_refused)
{
    static const char part[] = "\"fingerprint\" is not that of the model and shards listed";
    assert_change_refused("\"model\": \"00", "\"model\": \"01", CM_ECORRUPT, part);
    assert_change_refused("\"content\": \"a2", "\"content\": \"a3", CM_ECORRUPT, part);
    assert_change_refused("\"images\": 20", "\"images\": 25", CM_EFORMAT, "the shards hold 75");
    char *text = new_text();
    const char *at = strstr(text, "\"fingerprint\": \"");
    cr_assert(at != NULL);
    char from[24], to[24];
    snprintf(from, sizeof from, "%.20s", at);
    snprintf(to, sizeof to, "%.20s", at);
    to[19] = to[19] == '0' ? '1' : '0';
    assert_change_refused(from, to, CM_ECORRUPT, part);
    free(text);
}

Test(manifest, the_fingerprint_is_of_model_precision_and_shards)
{
    struct pr_manifest_shard shards[SHARDS];
    struct pr_manifest m = new_manifest(shards);
    struct cm_fingerprint f;
    m.model.bytes[3] ^= 1;
    cr_assert_eq(pr_manifest_fingerprint(&m, &f, &e), CM_OK);
    cr_assert(!cm_fingerprint_equal(&f, &m.gallery));
    m = new_manifest(shards);
    shards[0].images--;
    shards[1].images++;
    cr_assert_eq(pr_manifest_fingerprint(&m, &f, &e), CM_OK);
    cr_assert(!cm_fingerprint_equal(&f, &m.gallery), "the same images, cut elsewhere");
    m = new_manifest(shards);
    m.precision = (enum cm_precision)2;
    cr_assert_eq(pr_manifest_fingerprint(&m, &f, &e), CM_OK);
    cr_assert(!cm_fingerprint_equal(&f, &m.gallery));
    m = new_manifest(shards);
    shards[1].bytes++;
    cr_assert_eq(pr_manifest_fingerprint(&m, &f, &e), CM_OK);
    cr_assert(cm_fingerprint_equal(&f, &m.gallery), "sizes of files do not change an answer");
}

Test(manifest, shard_files_have_five_digits)
{
    char out[PR_SHARD_FILE_BYTES];
    cr_assert_str_eq(pr_shard_file(0, out), "shard-00000.vts");
    cr_assert_str_eq(pr_shard_file(65535, out), "shard-65535.vts");
    cr_assert_str_eq(pr_shard_file(UINT32_MAX, out), "shard-4294967295.vts");
}

Test(manifest, the_bytes_of_version_1_never_change)
{
    char *text = new_text();
    test_golden("v1/manifest.json", text, strlen(text));
    free(text);
}
