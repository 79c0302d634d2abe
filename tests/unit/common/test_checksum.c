/* Checksums against published vectors. */
#include "common/checksum.h"
#include "common/geometry.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <string.h>

Test(checksum, crc32c_gives_the_published_values)
{
    unsigned char bytes[32];
    cr_assert_eq(cm_crc32c(0, "", 0), 0);
    cr_assert_eq(cm_crc32c(0, "123456789", 9), 0xe3069283u);
    /* RFC 3720 B.4 */
    memset(bytes, 0, sizeof bytes);
    cr_assert_eq(cm_crc32c(0, bytes, sizeof bytes), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    cr_assert_eq(cm_crc32c(0, bytes, sizeof bytes), 0x62a8ab43u);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    cr_assert_eq(cm_crc32c(0, bytes, sizeof bytes), 0x46dd794eu);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)(31 - i);
    cr_assert_eq(cm_crc32c(0, bytes, sizeof bytes), 0x113fdb5cu);
    static const unsigned char read_command[48] = {
        0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02};
    cr_assert_eq(cm_crc32c(0, read_command, sizeof read_command), 0xd9963a56u);
}

Test(checksum, crc32c_in_pieces_is_that_of_the_whole)
{
    unsigned char bytes[700];
    struct test_random r = {2};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)test_random_bits(&r);
    for (size_t begin = 0; begin < 9; begin++) {
        uint32_t whole = cm_crc32c(0, bytes + begin, sizeof bytes - begin);
        for (size_t cut = begin; cut <= sizeof bytes; cut++) {
            uint32_t crc = cm_crc32c(0, bytes + begin, cut - begin);
            cr_assert_eq(cm_crc32c(crc, bytes + cut, sizeof bytes - cut), whole, "cut at %zu", cut);
        }
    }
}

Test(checksum, crc32c_sees_every_flipped_bit)
{
    unsigned char bytes[256] = {0};
    uint32_t clean = cm_crc32c(0, bytes, sizeof bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        cr_assert_neq(cm_crc32c(0, bytes, sizeof bytes), clean, "bit %zu", bit);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}

Test(checksum, fingerprint_of_nothing_is_the_published_one)
{
    char text[CM_FINGERPRINT_TEXT_BYTES];
    struct cm_fingerprint f = cm_fingerprint_of("", 0);
    cr_assert_str_eq(cm_fingerprint_text(&f, text), "99aa06d3014798d86001c324468d497f");
}

Test(checksum, fingerprint_in_pieces_is_that_of_the_whole)
{
    unsigned char bytes[1500];
    struct test_random r = {3};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)test_random_bits(&r);
    struct cm_fingerprint whole = cm_fingerprint_of(bytes, sizeof bytes);
    for (size_t piece = 1; piece < 600; piece += 7) {
        struct cm_hash *h;
        cr_assert_eq(cm_hash_new(&h, NULL), CM_OK);
        for (size_t at = 0; at < sizeof bytes; at += piece) {
            struct cm_fingerprint before = cm_hash_get(h);
            cr_assert(!cm_fingerprint_equal(&before, &whole), "after %zu bytes", at);
            cm_hash_add(h, bytes + at, sizeof bytes - at < piece ? sizeof bytes - at : piece);
        }
        struct cm_fingerprint f = cm_hash_get(h);
        cr_assert(cm_fingerprint_equal(&f, &whole), "pieces of %zu", piece);
        cm_hash_free(h);
    }
    cm_hash_free(NULL);
}
