/* weights_file.c: see weights_file.h. */
#include "tests/support/weights_file.h"

#include "common/geometry.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static void write_metadata(FILE *f, const struct cm_weights *w)
{
    const struct cm_geometry *g = &w->geometry;
    fprintf(f, "{\"__metadata__\":{\"matcher\":\"%s\",\"height\":\"%u\",\"width\":\"%u\",",
            cm_matcher_name(g->matcher), g->height, g->width);
    if (g->matcher == CM_QACONV)
        fprintf(f, "\"num_features\":\"%u\",", g->channels);
    else
        fprintf(f, "\"d_model\":\"%u\",\"num_layers\":\"%u\",\"dim_feedforward\":\"%u\",",
                g->channels, g->layers, g->ff);
    fprintf(f, "\"bn_eps\":\"%g\"}", w->bn_eps);
}

void test_weights_save(const struct test_weights *t, const char *path)
{
    const struct cm_weights *w = &t->weights;
    char *header;
    size_t size;
    uint64_t offset = 0;
    FILE *h = open_memstream(&header, &size), *f = fopen(path, "wb");
    cr_assert(h && f, "%s cannot be made", path);
    write_metadata(h, w);
    for (size_t i = 0; i < w->tensors_count; i++) {
        const struct cm_tensor *tensor = &w->tensors[i];
        fprintf(h, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[", tensor->name);
        for (uint32_t d = 0; d < tensor->rank; d++)
            fprintf(h, "%s%llu", d ? "," : "", (unsigned long long)tensor->dims[d]);
        fprintf(h, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                (unsigned long long)(offset + 4 * tensor->count));
        offset += 4 * tensor->count;
    }
    fputc('}', h);
    cr_assert_eq(fclose(h), 0);
    uint64_t header_bytes = size; /* little-endian, as this machine is */
    cr_assert_eq(fwrite(&header_bytes, sizeof header_bytes, 1, f), 1);
    cr_assert_eq(fwrite(header, size, 1, f), 1);
    for (size_t i = 0; i < w->tensors_count; i++)
        cr_assert_eq(fwrite(w->tensors[i].data, sizeof(float), w->tensors[i].count, f),
                     w->tensors[i].count);
    cr_assert_eq(fclose(f), 0);
    free(header);
}
