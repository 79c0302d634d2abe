/* import.c: how fast `vitrine import` takes feature maps in, and what bounds it.
 *
 * Beside the imports themselves, in turn: what one thread projects from memory (sc_pack), what
 * sgemm does at the projection's shape, and how fast the disk takes and syncs as many bytes as the
 * gallery has. Rates are of input bytes (float16 maps), but for the disk's;
 * those by processor time do not see what else the machine does. */
#include "common/half.h"
#include "common/io/file.h"
#include "common/io/process.h"
#include "common/mem.h"
#include "common/options.h"
#include "ops/bench/support.h"
#include "proto/file/npy.h"
#include "proto/file/safetensors.h"
#include "worker/score/blas.h"
#include "worker/score/scorer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MAX = 100, PROJECT_IMAGES = 16, THREADS_MAX = 2 };

struct args {
    const char *bin, *input, *dir, *json;
    uint64_t rounds;
};

/* One input set and what is needed to project from memory. */
struct bench {
    const struct args *a;
    struct pr_npy *maps;
    struct sc_model *model;
    struct sc_scratch *scratch;
    uint16_t *halves;
    float *map, *packed;
    char gallery[PATH_MAX];
};

static void start(struct bench *b)
{
    char path[PATH_MAX];
    struct cm_error e;
    struct pr_safetensors *weights;
    void *p;
    snprintf(path, sizeof path, "%s.safetensors", b->a->input);
    bench_check(pr_safetensors_read(&weights, path, &e), &e);
    bench_check(sc_model_fold(&b->model, pr_safetensors_weights(weights), &e), &e);
    pr_safetensors_free(weights);
    bench_check(sc_scratch_new(&b->scratch, b->model, &e), &e);
    snprintf(path, sizeof path, "%s.npy", b->a->input);
    bench_check(pr_npy_open(&b->maps, path, &e), &e);
    bench_check(cm_new_aligned(&p, PROJECT_IMAGES, b->maps->image_bytes, &e), &e);
    b->halves = p;
    bench_check(pr_npy_read_raw(b->maps, 0, PROJECT_IMAGES, b->halves, &e), &e);
    bench_check(cm_new_aligned(&p, b->maps->image_floats, sizeof(float), &e), &e);
    b->map = p;
    bench_check(cm_new_aligned(&p, sc_packed_bytes(b->model), 1, &e), &e);
    b->packed = p;
    snprintf(b->gallery, sizeof b->gallery, "%s/gallery", b->a->dir);
}

static void stop(struct bench *b)
{
    pr_npy_close(b->maps);
    sc_scratch_free(b->scratch);
    sc_model_free(b->model);
    free(b->halves);
    free(b->map);
    free(b->packed);
}

/* Seconds to widen and project one image, all of it in memory. */
static double project_s(struct bench *b)
{
    struct cm_error e;
    double begin = bench_cpu_s();
    for (size_t i = 0; i < PROJECT_IMAGES; i++) {
        size_t floats = b->maps->image_floats;
        cm_floats_of_halves(b->halves + i * floats, b->map, floats);
        bench_check(sc_pack(b->model, b->scratch, b->map, b->packed, &e), &e);
    }
    return (bench_cpu_s() - begin) / PROJECT_IMAGES;
}

/* Seconds of the projection's sgemm alone, one image. */
static double sgemm_s(struct bench *b)
{
    const struct cm_geometry *g = &b->model->geometry;
    size_t tokens = cm_tokens(g), d = g->channels;
    double begin = bench_cpu_s();
    for (size_t i = 0; i < PROJECT_IMAGES; i++)
        for (uint32_t l = 0; l < g->layers; l++)
            sc_gemm_nt(tokens, d, d, b->map + l * d, d * g->layers, b->model->layers[l].fc1, d,
                       b->packed);
    return (bench_cpu_s() - begin) / PROJECT_IMAGES;
}

/* Bytes a second that reach the disk when `bytes` are written and synced. */
static double disk_rate(const struct bench *b, size_t bytes)
{
    char path[PATH_MAX];
    struct cm_error e;
    snprintf(path, sizeof path, "%s/plain", b->a->dir);
    double begin = bench_wall_s();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_fail("cannot create %s: %s", path, strerror(errno));
    size_t step = sc_packed_bytes(b->model), done = 0;
    for (; done < bytes; done += step)
        bench_check(io_file_write_all(fd, path, done, b->packed, step, &e), &e);
    if (fsync(fd) != 0)
        bench_fail("cannot sync %s: %s", path, strerror(errno));
    double seconds = bench_wall_s() - begin;
    close(fd);
    unlink(path);
    return (double)done / seconds;
}

static double children_cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void wait_success(struct io_child *child)
{
    char how[64];
    struct timespec t = {.tv_nsec = 1000000};
    while (!io_child_poll(child))
        nanosleep(&t, NULL);
    if (!WIFEXITED(child->status) || WEXITSTATUS(child->status) != 0)
        bench_fail("vitrine import %s", io_child_text(child, how, sizeof how));
}

/* Imports once; seconds on the wall, and of processors in *cpu_s. */
static double import_s(const struct bench *b, unsigned threads, double *cpu_s)
{
    char program[PATH_MAX], model[PATH_MAX], npy[PATH_MAX], csv[PATH_MAX], count[16];
    char gallery[PATH_MAX];
    snprintf(program, sizeof program, "%s/vitrine", b->a->bin);
    snprintf(model, sizeof model, "--model=%s.safetensors", b->a->input);
    snprintf(npy, sizeof npy, "--features=%s.npy", b->a->input);
    snprintf(csv, sizeof csv, "--meta=%s.csv", b->a->input);
    snprintf(gallery, sizeof gallery, "--out=%s/gallery", b->a->dir);
    snprintf(count, sizeof count, "-t%u", threads);
    char import[] = "import", *argv[] = {program, import, model, npy, csv, gallery, count, NULL};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct io_spawn_options o = {.stdout_fd = null, .stderr_fd = -1};
    struct io_child child;
    struct cm_error e;
    double begin = bench_wall_s(), cpu_begin = children_cpu_s();
    bench_check(io_spawn(&child, argv, &o, &e), &e);
    wait_success(&child);
    double seconds = bench_wall_s() - begin;
    *cpu_s = children_cpu_s() - cpu_begin;
    close(null);
    bench_check(io_remove_tree(b->gallery, &e), &e);
    return seconds;
}

static void measure(const char *name, struct bench *b, FILE *json)
{
    double rate[THREADS_MAX][ROUNDS_MAX], cpu_rate[THREADS_MAX][ROUNDS_MAX];
    double project[ROUNDS_MAX], sgemm[ROUNDS_MAX], disk[ROUNDS_MAX];
    size_t rounds = b->a->rounds, images = b->maps->images;
    double image_bytes = (double)b->maps->image_bytes, mb = image_bytes * 1e-6;
    size_t stored = images * sc_packed_bytes(b->model);
    for (size_t r = 0; r < rounds; r++) {
        for (unsigned t = 0; t < THREADS_MAX; t++) {
            double cpu, seconds = import_s(b, t + 1, &cpu);
            rate[t][r] = (double)images * mb / seconds;
            cpu_rate[t][r] = (double)images * mb / cpu;
        }
        project[r] = mb / project_s(b);
        sgemm[r] = mb / sgemm_s(b);
        disk[r] = disk_rate(b, stored) * 1e-6;
    }
    double m[] = {
        bench_quantile(rate[0], rounds, 0.5), bench_quantile(cpu_rate[0], rounds, 0.5),
        bench_quantile(rate[1], rounds, 0.5), bench_quantile(cpu_rate[1], rounds, 0.5),
        bench_quantile(project, rounds, 0.5), bench_quantile(sgemm, rounds, 0.5),
        bench_quantile(disk, rounds, 0.5),    bench_spread(rate[0], rounds),
    };
    double ratio = (double)sc_packed_bytes(b->model) / image_bytes;
    printf("%-8s %7.0f %6.0f %10.0f %6.0f %10.0f %9.0f %10.0f %9.0f   %4.1f %%\n", name, m[0], m[1],
           m[2], m[3], m[4], m[5], m[6], m[6] / ratio, 100 * m[7]);
    fprintf(json,
            "{\"bench\":\"import\",\"size\":\"%s\",\"images\":%zu,\"mb_per_s_1\":%.1f,"
            "\"mb_per_cpu_s_1\":%.1f,\"mb_per_s_2\":%.1f,\"mb_per_cpu_s_2\":%.1f,"
            "\"project_mb_per_s\":%.1f,"
            "\"sgemm_mb_per_s\":%.1f,\"disk_mb_per_s\":%.1f,\"stored_per_input\":%.3f,"
            "\"spread\":%.4f,\"rounds\":%zu}\n",
            name, images, m[0], m[1], m[2], m[3], m[4], m[5], m[6], ratio, m[7], rounds);
}

int main(int argc, char **argv)
{
    struct args a = {.rounds = 3};
    const char *name = NULL;
    const struct cm_option options[] = {
        {"bin", 'b', CM_OPTION_TEXT, true, "DIR", "where vitrine is", 0, 0, &a.bin},
        {"size", 's', CM_OPTION_TEXT, true, "NAME", "what results call it", 0, 0, &name},
        {"input", 'i', CM_OPTION_TEXT, true, "PREFIX", "what bench/inputs made", 0, 0, &a.input},
        {"dir", 'd', CM_OPTION_TEXT, true, "DIR", "to import into", 0, 0, &a.dir},
        {"rounds", 'r', CM_OPTION_COUNT, false, "N", "imports of each kind (default 3)", 3,
         ROUNDS_MAX, &a.rounds},
        {"json", 0, CM_OPTION_TEXT, false, "FILE", "append a JSON line to it", 0, 0, &a.json},
    };
    const struct cm_command command = {
        .name = "bench/import",
        .usage = "--bin DIR --size NAME --input PREFIX --dir DIR [--rounds N] [--json FILE]",
        .about = "Input bytes a second of 'vitrine import' with one thread and with two.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct bench b = {.a = &a};
    start(&b);
    if (b.maps->images < PROJECT_IMAGES)
        bench_fail("%s has fewer than %d images", a.input, PROJECT_IMAGES);
    FILE *json = bench_json(a.json);
    measure(name, &b, json);
    fclose(json);
    stop(&b);
    return 0;
}
