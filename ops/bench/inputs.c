/* inputs.c: random weights, maps and labels of a model's sizes, for the other benchmarks to import.
 *
 * PREFIX.safetensors, PREFIX.npy (float16) and PREFIX.csv; the same bytes for the same arguments.
 */
#include "common/geometry.h"
#include "common/options.h"
#include "ops/bench/support.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 1 << 16 };

static FILE *create(const char *prefix, const char *suffix)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s", prefix, suffix);
    FILE *f = fopen(path, "w");
    if (!f)
        bench_fail("cannot create %s: %s", path, strerror(errno));
    return f;
}

static void finish(FILE *f)
{
    if (ferror(f) || fclose(f) != 0)
        bench_fail("cannot write the inputs: %s", strerror(errno));
}

/* --- weights ---------------------------------------------------------------------------------- */

/* A safetensors header as it grows, and how many floats it promises. */
struct header {
    char text[HEADER_BYTES];
    size_t length, floats;
};

static void __attribute__((format(printf, 2, 3))) put(struct header *h, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    h->length += (size_t)vsnprintf(h->text + h->length, sizeof h->text - h->length, fmt, args);
    va_end(args);
    if (h->length >= sizeof h->text)
        bench_fail("the weights' header is over %d bytes", HEADER_BYTES);
}

/* A tensor of up to two dimensions, or with two ones before them; columns 0 for one dimension. */
static void put_tensor(struct header *h, const char *prefix, const char *name, const char *ones,
                       size_t rows, size_t columns)
{
    size_t floats = rows * (columns ? columns : 1);
    put(h, ",\"%s%s\":{\"dtype\":\"F32\",\"shape\":[%s%zu", prefix, name, ones, rows);
    if (columns)
        put(h, ",%zu", columns);
    put(h, "],\"data_offsets\":[%zu,%zu]}", h->floats * 4, (h->floats + floats) * 4);
    h->floats += floats;
}

static void put_norm(struct header *h, const char *prefix, const char *name, size_t n)
{
    static const char *const parts[] = {".weight", ".bias", ".running_mean", ".running_var"};
    for (size_t i = 0; i < 4; i++) {
        char full[64];
        snprintf(full, sizeof full, "%s%s", name, parts[i]);
        put_tensor(h, prefix, full, "", n, 0);
    }
}

static void put_layer(struct header *h, const struct cm_geometry *g, uint32_t l)
{
    char p[64];
    size_t tokens = cm_tokens(g), d = g->channels, ff = g->ff;
    snprintf(p, sizeof p, "decoder.layers.%u.", l);
    put_tensor(h, p, "score_embed", "1,1,", tokens, tokens);
    put_tensor(h, p, "fc1.weight", "", d, d);
    put_tensor(h, p, "fc1.bias", "", d, 0);
    put_tensor(h, p, "fc2.weight", "", ff, tokens);
    put_tensor(h, p, "fc2.bias", "", ff, 0);
    put_tensor(h, p, "fc3.weight", "", 1, ff);
    put_tensor(h, p, "fc3.bias", "", 1, 0);
    put_norm(h, p, "bn1", 1);
    put_norm(h, p, "bn2", ff);
    put_norm(h, p, "bn3", 1);
}

static void put_tensors(struct header *h, const struct cm_geometry *g)
{
    if (g->matcher == CM_QACONV) {
        put_tensor(h, "", "fc.weight", "", 1, cm_tokens(g));
        put_tensor(h, "", "fc.bias", "", 1, 0);
        put_norm(h, "", "bn", 1);
        put_norm(h, "", "logit_bn", 1);
        return;
    }
    for (uint32_t l = 0; l < g->layers; l++)
        put_layer(h, g, l);
    put_norm(h, "", "decoder.norm", 1);
}

static void write_weights(const struct cm_geometry *g, const char *prefix)
{
    static struct header h;
    uint64_t state = 5;
    put(&h,
        "{\"__metadata__\":{\"matcher\":\"%s\",\"height\":\"%u\",\"width\":\"%u\","
        "\"d_model\":\"%u\",\"num_layers\":\"%u\",\"dim_feedforward\":\"%u\"}",
        cm_matcher_name(g->matcher), g->height, g->width, g->channels, g->layers, g->ff);
    put_tensors(&h, g);
    put(&h, "}");
    FILE *f = create(prefix, ".safetensors");
    uint64_t length = h.length;
    fwrite(&length, sizeof length, 1, f);
    fwrite(h.text, h.length, 1, f);
    for (size_t i = 0; i < h.floats; i++) {
        float value = 0.05f + 0.04f * bench_random(&state); /* above 0, as a variance must be */
        fwrite(&value, sizeof value, 1, f);
    }
    finish(f);
}

/* --- maps and labels -------------------------------------------------------------------------- */

/* float16 numbers between 1/16 and 1, of either sign, straight from their bits. */
static void fill_halves(uint16_t *out, size_t count, uint64_t *state)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)((bench_random(state) + 1.0f) * (float)(1 << 15));
        out[i] = (uint16_t)((bits & 0x8fff) | 0x2000) & 0xbbff;
    }
}

static void write_maps(const struct cm_geometry *g, uint64_t images, const char *prefix)
{
    FILE *f = create(prefix, ".npy");
    bench_npy_header(f, images, g->height, g->width, g->channels * g->layers);
    uint64_t state = 6;
    size_t floats = cm_map_floats(g);
    uint16_t *map = calloc(floats, sizeof *map);
    for (uint64_t i = 0; map && i < images; i++) {
        fill_halves(map, floats, &state);
        fwrite(map, sizeof *map, floats, f);
    }
    if (!map)
        bench_fail("out of memory");
    free(map);
    finish(f);
}

static void write_labels(uint64_t images, const char *prefix)
{
    FILE *f = create(prefix, ".csv");
    fputs("name,pid,camid,timestamp\n", f);
    for (uint64_t i = 0; i < images; i++)
        fprintf(f, "image-%06" PRIu64 ".jpg,%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", i, i / 4, i % 4,
                i);
    finish(f);
}

int main(int argc, char **argv)
{
    const char *size = NULL, *out = NULL;
    uint64_t images = 0;
    const struct cm_option options[] = {
        {"size", 's', CM_OPTION_TEXT, true, "NAME", "paper, small, qaconv or bytes", 0, 0, &size},
        {"images", 'n', CM_OPTION_COUNT, true, "N", "maps to make", 1, 1000000, &images},
        {"out", 'o', CM_OPTION_TEXT, true, "PREFIX", "of the three files' names", 0, 0, &out},
    };
    const struct cm_command command = {
        .name = "bench/inputs",
        .usage = "--size NAME --images N --out PREFIX",
        .about = "Writes random weights, feature maps and labels of a model's sizes.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    const struct cm_geometry *g = &bench_size_of(size)->geometry;
    write_weights(g, out);
    write_maps(g, images, out);
    write_labels(images, out);
    return 0;
}
