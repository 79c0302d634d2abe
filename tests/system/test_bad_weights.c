/* Weights that are not what they must be, through import and score. */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { DATA = 65, NOINPUT = 66 };

static void refused_twice(const struct test_inputs *t, int code, const char *part)
{
    struct test_refusal want = {code, t->model, part};
    test_import_refused(t, &want);
    test_score_refused(t, &want);
}

Test(bad_weights, missing_empty_cut_and_huge)
{
    struct test_inputs t;
    test_inputs_init(&t);
    size_t size = test_size(t.model);
    test_resize(t.model, size - 1);
    refused_twice(&t, DATA, "leave the file's");
    test_resize(t.model, size + 1);
    refused_twice(&t, DATA, "copy or save it again");
    test_resize(t.model, 100);
    refused_twice(&t, DATA, "cut short: states a header of ");
    test_resize(t.model, 7);
    refused_twice(&t, DATA, "has only 7 bytes");
    test_resize(t.model, 0);
    refused_twice(&t, DATA, "is empty");
    test_resize(t.model, (size_t)5 << 30);
    refused_twice(&t, DATA, "has 5368709120 bytes; at most 4294967296 are supported");
    unlink(t.model);
    refused_twice(&t, NOINPUT, "No such file or directory");
    test_inputs_fini(&t);
}

Test(bad_weights, hostile_header_length)
{
    static const struct {
        uint64_t length;
        const char *part;
    } cases[] = {
        {UINT64_MAX, "states a header of 18446744073709551615 bytes in a file of "},
        {UINT64_MAX - 7, "states a header of 18446744073709551608 bytes"},
        {UINT64_C(1) << 63, "states a header of 9223372036854775808 bytes"},
        {(UINT64_C(1) << 20) + 1, "states a header of 1048577 bytes"},
        {3, "its header is no JSON object"},
        {0, "its header is no JSON object"},
    };
    struct test_inputs t;
    test_inputs_init(&t);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_patch(t.model, 0, &cases[i].length, 8); /* little-endian, as this machine */
        refused_twice(&t, DATA, cases[i].part);
    }
    const uint64_t large = 2u << 20;
    test_resize(t.model, 4u << 20);
    test_patch(t.model, 0, &large, 8);
    refused_twice(&t, DATA, "its header has 2097152 bytes; at most 1048576 are supported");
    test_inputs_fini(&t);
}

Test(bad_weights, tensors_and_sizes)
{
    static const struct {
        const char *from, *to, *part;
    } cases[] = {
        {"decoder.layers.0.score_embed", "decoder.layers.0.score_embex", "score_embed"},
        {"decoder.layers.3.fc1.weight", "decoder.layers.9.fc1.weight", "layers.3.fc1.weight"},
        {"\"d_model\":\"20\"", "\"d_model\":\"21\"", "ask [21,21]"},
        {"\"d_model\":\"20\"", "\"d_model\":\"-1\"", "d_model is \"-1\""},
        {"\"height\":\"5\"", "\"height\":\"6\"", "ask [1,1,18,18]"},
        {"\"num_layers\":\"4\"", "\"num_layers\":\"5\"", "layers.4."},
        {"\"transmatcher\"", "\"transmatchex\"", "matcher is \"transmatchex\""},
        {"\"matcher\"", "\"matchex\"", "matcher is missing; expected"},
        {"__metadata__", "__metadatb__", "__metadat"},
        {"\"F32\"", "\"I32\"", "its dtype is I32; save it as F32"},
    };
    struct test_inputs t;
    test_inputs_init(&t);
    char good[TEST_PATH_BYTES];
    test_copy(t.model, test_path(&t.folder, "good.safetensors", good));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_copy(good, t.model);
        test_replace(t.model, cases[i].from, cases[i].to);
        refused_twice(&t, DATA, cases[i].part);
    }
    test_inputs_fini(&t);
}

Test(bad_weights, nan)
{
    static const uint32_t nan = 0x7fc00000u;
    struct test_inputs t;
    test_inputs_init(&t);
    test_patch(t.model, test_size(t.model) - 4, &nan, sizeof nan);
    refused_twice(&t, DATA, "is a NaN; train or export it again");
    test_inputs_fini(&t);
}
