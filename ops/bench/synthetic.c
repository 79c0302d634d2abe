/* synthetic.c: a large gallery of synthetic images, made of a small one of real maps; to a pipe.
 *
 * The first `queries` identities that the real query set shows are asked for. For each, `positives`
 * images are planted at scattered ids: real gallery maps of that identity, taken by another camera,
 * with a little noise. All others are distractors, each of an identity of its own: a mixture of two
 * real maps of identities that nobody asks for, with more noise. An image depends on the seed, its
 * id and the numbers of images, queries and positives alone, so that any of them can be made again.
 */
#include "common/mem.h"
#include "common/options.h"
#include "ops/bench/support.h"
#include "proto/file/csv.h"
#include "proto/file/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 4 };
#define DISTRACTOR_PIDS INT64_C(1000000000) /* and up: one for each id */

/* How far an image is from the real map that it is made of. Noise is in parts of the mean
 * magnitude of a number in the real maps. */
static const float mix_least = 0.1f, mix_most = 0.4f, distractor_noise = 0.3f, planted_noise = 0.1f;

/* A set of real maps with their labels. */
struct set {
    struct pr_npy *npy;
    float *maps; /* [images][stride]; NULL if they were not asked for */
    size_t stride;
    int64_t *pids;
    int32_t *cams;
};

struct planted {
    uint64_t id, query; /* query: 0 .. queries - 1 */
    uint64_t row;       /* of the real gallery */
};

struct synthetic {
    const char *from, *what, *ids;
    uint64_t images, queries, positives, seed;
    struct set gallery, query;
    uint64_t *asked; /* [queries] rows of the real query set */
    uint64_t *bases; /* [bases_count] rows of the gallery whose identity nobody asks for */
    size_t bases_count;
    struct planted *planted; /* [queries * positives], by id */
    float magnitude;
    uint16_t *halves; /* room for one image */
};

static void *room(size_t count, size_t size)
{
    struct cm_error e;
    void *p;
    bench_check(cm_new(&p, count, size, &e), &e);
    return p;
}

/* Vigna's splitmix64: a number that looks random for each two. */
static uint64_t mixed(uint64_t seed, uint64_t n)
{
    uint64_t x = seed + (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* --- the real sets ---------------------------------------------------------------------------- */

static char *file_in(const struct synthetic *s, const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s", s->from, name);
    return out;
}

static void read_set(const struct synthetic *s, const char *maps, const char *labels,
                     struct set *set)
{
    char path[PATH_MAX];
    struct cm_error e;
    struct pr_csv *csv;
    struct cm_image_meta meta;
    bool end = false;
    bench_check(pr_npy_open(&set->npy, file_in(s, maps, path), &e), &e);
    if (set->npy->dtype != CM_DTYPE_F16)
        bench_fail("%s holds no float16", path);
    set->pids = room(set->npy->images, sizeof *set->pids);
    set->cams = room(set->npy->images, sizeof *set->cams);
    bench_check(pr_csv_open(&csv, file_in(s, labels, path), PR_NAMES_CSV, &e), &e);
    for (uint64_t i = 0; i < set->npy->images; i++) {
        bench_check(pr_csv_next(csv, &meta, &end, &e), &e);
        if (end)
            bench_fail("%s has fewer rows than %s has images", labels, maps);
        set->pids[i] = meta.pid;
        set->cams[i] = meta.camid;
    }
    pr_csv_close(csv);
}

/* All maps as floats, each followed by as many zeros as a load of whole lanes may reach. */
static void read_maps(struct set *set)
{
    struct cm_error e;
    size_t floats = set->npy->image_floats;
    set->stride = (floats + LANES - 1) / LANES * LANES;
    set->maps = room(set->npy->images * set->stride, sizeof *set->maps);
    for (uint64_t i = 0; i < set->npy->images; i++)
        bench_check(pr_npy_read(set->npy, i, 1, set->maps + i * set->stride, &e), &e);
}

static void free_set(struct set *set)
{
    pr_npy_close(set->npy);
    free(set->maps);
    free(set->pids);
    free(set->cams);
}

/* --- who is asked for, and what is planted where ---------------------------------------------- */

static bool is_asked(const struct synthetic *s, int64_t pid, uint64_t among)
{
    for (uint64_t q = 0; q < among; q++)
        if (s->query.pids[s->asked[q]] == pid)
            return true;
    return false;
}

static void choose_queries(struct synthetic *s)
{
    uint64_t found = 0;
    s->asked = room(s->queries, sizeof *s->asked);
    for (uint64_t i = 0; i < s->query.npy->images && found < s->queries; i++)
        if (s->query.pids[i] > 0 && !is_asked(s, s->query.pids[i], found))
            s->asked[found++] = i;
    if (found < s->queries)
        bench_fail("%s has queries of %" PRIu64 " identities only", s->from, found);
}

static void choose_bases(struct synthetic *s)
{
    s->bases = room(s->gallery.npy->images, sizeof *s->bases);
    for (uint64_t i = 0; i < s->gallery.npy->images; i++)
        if (!is_asked(s, s->gallery.pids[i], s->queries))
            s->bases[s->bases_count++] = i;
    if (s->bases_count == 0)
        bench_fail("every identity of %s is asked for; none is left for the others", s->from);
}

/* The row of the j-th real map of a query's identity, by another camera; round and round. */
static uint64_t real_positive(const struct synthetic *s, uint64_t query, uint64_t j)
{
    int64_t pid = s->query.pids[s->asked[query]];
    int32_t cam = s->query.cams[s->asked[query]];
    uint64_t count = 0, images = s->gallery.npy->images;
    for (uint64_t i = 0; i < images; i++)
        count += s->gallery.pids[i] == pid && s->gallery.cams[i] != cam;
    if (count == 0)
        bench_fail("pid %" PRId64 " has no image by another camera in %s", pid, s->from);
    j %= count;
    uint64_t row = 0;
    while (s->gallery.pids[row] != pid || s->gallery.cams[row] == cam || j-- > 0)
        row++;
    return row;
}

/* One in each of as many equal stretches of ids, in a shuffled order. */
static void choose_planted(struct synthetic *s)
{
    uint64_t count = s->queries * s->positives;
    if (count * 2 > s->images)
        bench_fail("%" PRIu64 " planted images want a gallery of twice as many", count);
    uint64_t *order = room(count, sizeof *order);
    for (uint64_t i = 0; i < count; i++) { /* Fisher and Yates, from the inside */
        uint64_t j = mixed(s->seed ^ 1, i) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    s->planted = room(count, sizeof *s->planted);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t begin = i * s->images / count, end = (i + 1) * s->images / count;
        uint64_t query = order[i] / s->positives, j = order[i] % s->positives;
        s->planted[i] = (struct planted){
            .id = begin + mixed(s->seed ^ 2, i) % (end - begin),
            .query = query,
            .row = real_positive(s, query, j),
        };
    }
    free(order);
}

static int by_id(const void *key, const void *element)
{
    const uint64_t *id = key;
    const struct planted *p = element;
    return (*id > p->id) - (*id < p->id);
}

static const struct planted *planted_at(const struct synthetic *s, uint64_t id)
{
    return bsearch(&id, s->planted, s->queries * s->positives, sizeof *s->planted, by_id);
}

static uint64_t base_of(const struct synthetic *s, uint64_t id)
{
    return s->bases[id % s->bases_count];
}

/* --- numbers ---------------------------------------------------------------------------------- */

typedef uint32_t lanes_u32 __attribute__((vector_size(4 * LANES)));
typedef int32_t lanes_i32 __attribute__((vector_size(4 * LANES)));
typedef float lanes_f32 __attribute__((vector_size(4 * LANES)));
typedef uint16_t lanes_u16 __attribute__((vector_size(2 * LANES)));

/* Marsaglia's xorshift in every lane. */
static void step(lanes_u32 *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
}

/* To the nearest half; what is below the smallest normal one becomes 0, what is too large the
 * largest. */
static lanes_u16 to_halves(lanes_f32 values)
{
    lanes_u32 bits = (lanes_u32)values;
    lanes_u32 sign = bits >> 16 & 0x8000u;
    lanes_i32 magnitude = (lanes_i32)(bits & 0x7fffffffu) + 0x1000;
    lanes_i32 half = (magnitude >> 13) - (112 << 10);
    half &= ~(magnitude < (113 << 23));
    lanes_i32 over = half > 0x7bff;
    half = (half & ~over) | (0x7bff & over);
    return __builtin_convertvector((lanes_u32)half | sign, lanes_u16);
}

/* a + mix * (b - a) + noise * [-1, 1) */
static void blend(const struct synthetic *s, const float *a, const float *b, float mix, float noise,
                  uint64_t seed, uint16_t *out)
{
    lanes_u32 state;
    for (uint32_t l = 0; l < LANES; l++)
        state[l] = (uint32_t)mixed(seed, l) | 1; /* never 0 */
    for (size_t i = 0; i < s->gallery.stride; i += LANES) {
        lanes_f32 x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        step(&state);
        lanes_f32 u = __builtin_convertvector((lanes_i32)state, lanes_f32) * 0x1p-31f;
        lanes_u16 halves = to_halves(x + mix * (y - x) + noise * u);
        memcpy(out + i, &halves, sizeof halves);
    }
}

static void make_image(const struct synthetic *s, uint64_t id, uint16_t *out)
{
    const struct planted *p = planted_at(s, id);
    uint64_t seed = mixed(s->seed ^ 3, id);
    const float *maps = s->gallery.maps;
    if (p) {
        const float *map = maps + p->row * s->gallery.stride;
        blend(s, map, map, 0, planted_noise * s->magnitude, seed, out);
        return;
    }
    const float *a = maps + base_of(s, id) * s->gallery.stride;
    const float *b = maps + base_of(s, mixed(seed, LANES)) * s->gallery.stride;
    float part = (float)(mixed(seed, LANES + 1) >> 40) * 0x1p-24f;
    blend(s, a, b, mix_least + part * (mix_most - mix_least), distractor_noise * s->magnitude, seed,
          out);
}

/* --- what is written to stdout ---------------------------------------------------------------- */

static void write_header(const struct pr_npy *n, uint64_t images)
{
    bench_npy_header(stdout, images, n->height, n->width, n->channels);
}

static void write_image(const struct synthetic *s, uint64_t id)
{
    make_image(s, id, s->halves);
    if (fwrite(s->halves, sizeof *s->halves, s->gallery.npy->image_floats, stdout) !=
        s->gallery.npy->image_floats)
        bench_fail("cannot write image %" PRIu64 ": %s", id, strerror(errno));
}

/* Calls `each` for the comma-separated numbers of s->ids; returns how many. */
static uint64_t for_ids(const struct synthetic *s,
                        void (*each)(const struct synthetic *s, uint64_t id))
{
    uint64_t count = 0;
    for (const char *p = s->ids; *p; count++) {
        char *end;
        uint64_t id = strtoull(p, &end, 10);
        if (end == p || (*end && *end != ',') || id >= s->images)
            bench_fail("--ids: '%s' is no list of ids below %" PRIu64, p, s->images);
        if (each)
            each(s, id);
        p = *end ? end + 1 : end;
    }
    return count;
}

static void write_maps(struct synthetic *s)
{
    read_maps(&s->gallery);
    size_t numbers = s->gallery.npy->images * s->gallery.stride;
    double sum = 0;
    for (size_t i = 0; i < numbers; i++)
        sum += fabs((double)s->gallery.maps[i]);
    s->magnitude = (float)(sum / (double)(s->gallery.npy->images * s->gallery.npy->image_floats));
    s->halves = room(s->gallery.stride, sizeof *s->halves);
    write_header(s->gallery.npy, s->ids ? for_ids(s, NULL) : s->images);
    if (s->ids)
        for_ids(s, write_image);
    else
        for (uint64_t id = 0; id < s->images; id++)
            write_image(s, id);
    free(s->halves);
}

static void write_labels(struct synthetic *s)
{
    puts("name,pid,camid,timestamp");
    for (uint64_t id = 0; id < s->images; id++) {
        const struct planted *p = planted_at(s, id);
        uint64_t row = p ? p->row : base_of(s, id);
        if (p)
            printf("planted-%07" PRIu64 "-query-%" PRIu64, id, p->query);
        else
            printf("synthetic-%07" PRIu64, id);
        printf(",%" PRId64 ",%" PRId32 ",%" PRIu64 "\n",
               p ? s->gallery.pids[row] : DISTRACTOR_PIDS + (int64_t)id, s->gallery.cams[row], id);
    }
}

static void write_query_maps(struct synthetic *s)
{
    const struct pr_npy *n = s->query.npy;
    uint16_t *map = room(n->image_floats, sizeof *map);
    struct cm_error e;
    write_header(n, s->queries);
    for (uint64_t q = 0; q < s->queries; q++) {
        bench_check(pr_npy_read_raw(n, s->asked[q], 1, map, &e), &e);
        fwrite(map, sizeof *map, n->image_floats, stdout);
    }
    free(map);
}

static void write_query_labels(struct synthetic *s)
{
    puts("name,pid,camid,timestamp");
    for (uint64_t q = 0; q < s->queries; q++)
        printf("query-%" PRIu64 ",%" PRId64 ",%" PRId32 ",%" PRIu64 "\n", q,
               s->query.pids[s->asked[q]], s->query.cams[s->asked[q]], q);
}

static void write_plan(struct synthetic *s)
{
    for (uint64_t i = 0; i < s->queries * s->positives; i++)
        printf("%" PRIu64 " %" PRIu64 "\n", s->planted[i].id, s->planted[i].query);
}

static void write_what(struct synthetic *s)
{
    static const struct {
        const char *name;
        void (*write)(struct synthetic *s);
    } kinds[] = {
        {"maps", write_maps},
        {"labels", write_labels},
        {"query-maps", write_query_maps},
        {"query-labels", write_query_labels},
        {"plan", write_plan},
    };
    size_t i = 0, count = sizeof kinds / sizeof *kinds;
    while (i < count && strcmp(kinds[i].name, s->what) != 0)
        i++;
    if (i == count)
        bench_fail("--what is '%s'; there are maps, labels, query-maps, query-labels and plan",
                   s->what);
    kinds[i].write(s);
    if (fflush(stdout) != 0 || ferror(stdout))
        bench_fail("cannot write the %s: %s", s->what, strerror(errno));
}

int main(int argc, char **argv)
{
    struct synthetic s = {.queries = 20, .positives = 8, .seed = 1};
    const struct cm_option options[] = {
        {"from", 'f', CM_OPTION_TEXT, true, "DIR",
         "real maps and labels: gallery.npy, gallery.csv, query.npy, query.csv", 0, 0, &s.from},
        {"images", 'n', CM_OPTION_COUNT, true, "N", "in the whole gallery", 1, 100000000,
         &s.images},
        {"queries", 'q', CM_OPTION_COUNT, false, "N", "identities asked for (default 20)", 1, 10000,
         &s.queries},
        {"positives", 'p', CM_OPTION_COUNT, false, "N", "planted for each query (default 8)", 1,
         1000, &s.positives},
        {"seed", 's', CM_OPTION_COUNT, false, "N", "of all that is random (default 1)", 0,
         UINT32_MAX, &s.seed},
        {"what", 'w', CM_OPTION_TEXT, true, "WHAT",
         "maps or labels of the gallery, query-maps, query-labels, or plan: a line\n"
         "'ID QUERY' for each planted image",
         0, 0, &s.what},
        {"ids", 'i', CM_OPTION_TEXT, false, "LIST", "only these maps, such as 5,2,17", 0, 0,
         &s.ids},
    };
    const struct cm_command command = {
        .name = "bench/synthetic",
        .usage = "--from DIR --images N --what WHAT [--queries N] [--positives N] [--seed N]",
        .about = "Writes a synthetic gallery, made of a real one, to standard output.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    read_set(&s, "gallery.npy", "gallery.csv", &s.gallery);
    read_set(&s, "query.npy", "query.csv", &s.query);
    choose_queries(&s);
    choose_bases(&s);
    choose_planted(&s);
    write_what(&s);
    free_set(&s.gallery);
    free_set(&s.query);
    free(s.asked);
    free(s.bases);
    free(s.planted);
    return 0;
}
