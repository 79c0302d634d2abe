/* test_wire_golden.c: the bytes of version 1 never change, and messages.md says what they are.
 *
 * VITRINE_WRITE_GOLDEN=1 in the environment writes the files instead, for a message that is new. */
#include "proto/wire/reader.h"
#include "tests/fuzz/wire_repack.h"
#include "tests/unit/proto/test_wire_examples.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_in_source(const char *folder, const char *name, const char *mode)
{
    char path[4096];
    const char *top = getenv("VITRINE_SOURCE");
    snprintf(path, sizeof path, "%s/%s/%s", top ? top : ".", folder, name);
    FILE *f = fopen(path, mode);
    cr_assert(f != NULL, "cannot open %s", path);
    return f;
}

static size_t read_file(const char *folder, const char *name, char *out, size_t max)
{
    FILE *f = open_in_source(folder, name, "rb");
    size_t n = fread(out, 1, max, f);
    fclose(f);
    cr_assert(n < max, "%s is larger than expected", name);
    return n;
}

static void write_golden(const struct wire_example *x, const struct pr_buffer *b)
{
    FILE *f = open_in_source("tests/golden/wire/v1", x->file, "wb");
    cr_assert_eq(fwrite(b->data, 1, b->size, f), b->size);
    cr_assert_eq(fclose(f), 0);
}

Test(wire_golden, every_type_has_an_example)
{
    for (uint32_t type = 0; type < 256; type++) {
        int found = 0;
        for (size_t i = 0; i < WIRE_EXAMPLES; i++)
            found += wire_examples[i].type == type;
        cr_assert_eq(found, pr_type_name(type) ? 1 : 0, "type %u: %d examples", type, found);
    }
}

Test(wire_golden, examples_pack_to_the_stored_bytes_and_back)
{
    for (size_t i = 0; i < WIRE_EXAMPLES; i++) {
        const struct wire_example *x = &wire_examples[i];
        struct cm_error e;
        struct pr_buffer b;
        cr_assert_eq(wire_example_pack(x->type, &b, &e), CM_OK, "%s: %s", x->file, e.text);
        if (getenv("VITRINE_WRITE_GOLDEN"))
            write_golden(x, &b);
        char stored[8192];
        size_t size = read_file("tests/golden/wire/v1", x->file, stored, sizeof stored);
        cr_assert_eq(size, b.size, "%s holds %zu bytes, the message %zu", x->file, size, b.size);
        cr_assert(memcmp(stored, b.data, size) == 0, "%s: the bytes of the message changed",
                  x->file);
        pr_buffer_fini(&b);
        struct cm_bytes bytes = {.data = stored, .size = size};
        cr_assert_eq(wire_repack(x->type, bytes, &b, &e), CM_OK, "%s: %s", x->file, e.text);
        cr_assert(b.size == size && memcmp(stored, b.data, size) == 0,
                  "%s: unpacked and packed again it is another message", x->file);
        pr_buffer_fini(&b);
    }
}

/* The top-level keys that the example of a type has. */
static uint64_t keys_sent(enum pr_type type)
{
    struct cm_error e;
    struct pr_buffer b;
    cr_assert_eq(wire_example_pack(type, &b, &e), CM_OK, "%s", e.text);
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, pr_buffer_bytes(&b), type, &e);
    uint64_t seen = f.seen;
    cr_assert_eq(pr_reader_close(&r), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    return seen;
}

/* The keys in the first table under "## NAME"; those of the envelope if there is no such heading.
 */
static uint64_t keys_documented(const char *doc, const char *name)
{
    char heading[64];
    uint64_t keys = 0xf;
    snprintf(heading, sizeof heading, "\n## %s\n", name);
    const char *at = strstr(doc, heading);
    const char *row = at ? strstr(at, "| key |") : NULL;
    for (; row && *row == '|'; row = strchr(row, '\n') + 1) {
        unsigned key;
        if (sscanf(row, "| %u |", &key) == 1) {
            cr_assert(key < 64 && !(keys >> key & 1), "%s: key %u in messages.md", name, key);
            keys |= UINT64_C(1) << key;
        }
    }
    return keys;
}

Test(wire_golden, messages_md_names_every_type_and_key)
{
    static char doc[1 << 16];
    doc[read_file("proto", "messages.md", doc, sizeof doc)] = '\0';
    unsigned rows = 0;
    for (uint32_t type = 0; type < 256; type++) {
        const char *name = pr_type_name(type);
        char row[64];
        snprintf(row, sizeof row, "\n| %u | %s | ", type, name ? name : "");
        cr_assert_eq(strstr(doc, row) != NULL, name != NULL, "type %u in messages.md", type);
        if (!name)
            continue;
        rows++;
        uint64_t sent = keys_sent(type);
        uint64_t documented = keys_documented(doc, name);
        cr_assert_eq(sent, documented, "%s: keys %llx sent, %llx in messages.md", name,
                     (unsigned long long)sent, (unsigned long long)documented);
    }
    cr_assert_eq(rows, WIRE_EXAMPLES);
}
