/* charts.c: see charts.h. */
#include "ops/cli/charts.h"

#include <inttypes.h>
#include <math.h>

enum { BINS = 20 };

/* The drawing area within the picture, in its units. A phone shows one unit as about one pixel. */
enum { WIDTH = 420, HEIGHT = 270, LEFT = 46, RIGHT = 410, TOP = 24, BOTTOM = 226 };

/* Values along both axes. */
struct axes {
    double x_least, x_most, y_least, y_most;
};

static double x_of(const struct axes *a, double value)
{
    return LEFT + (value - a->x_least) / (a->x_most - a->x_least) * (RIGHT - LEFT);
}

static double y_of(const struct axes *a, double value)
{
    return BOTTOM - (value - a->y_least) / (a->y_most - a->y_least) * (BOTTOM - TOP);
}

static void begin(const char *label, FILE *out)
{
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", WIDTH, HEIGHT,
            label);
}

/* Lines across at every step, with their values; then what both axes are. */
static void put_y_axis(const struct axes *a, double step, double shown_as, const char *name,
                       FILE *out)
{
    int steps = (int)lround((a->y_most - a->y_least) / step);
    for (int i = 0; i <= steps; i++) {
        double value = a->y_least + i * step, y = y_of(a, value);
        fprintf(out,
                "<path class=\"%s\" d=\"M%d %.1fH%d\"/><text class=\"end\" x=\"%d\" y=\"%.1f\">%g"
                "</text>\n",
                i ? "grid" : "axis", LEFT, y, RIGHT, LEFT - 7, y + 4, value * shown_as);
    }
    fprintf(out, "<text class=\"middle\" transform=\"translate(12 %d) rotate(-90)\">%s</text>\n",
            (TOP + BOTTOM) / 2, name);
}

static void put_x_value(const struct axes *a, double value, FILE *out)
{
    fprintf(out, "<text class=\"middle\" x=\"%.1f\" y=\"%d\">%g</text>\n", x_of(a, value),
            BOTTOM + 17, value);
}

static void end(const char *x_name, FILE *out)
{
    fprintf(out, "<text class=\"middle\" x=\"%d\" y=\"%d\">%s</text>\n</svg>\n", (LEFT + RIGHT) / 2,
            HEIGHT - 6, x_name);
}

/* --- CMC ----------------------------------------------------------------------------------------
 */

/* From a round value below the curve up to 1. */
static double choose_least(double first, double *step)
{
    *step = first >= 0.8 ? 0.05 : first >= 0.5 ? 0.1 : 0.2;
    double least = floor(first / *step + 1e-9) * *step;
    if (first - least < *step / 4) /* room for what is written at the first point */
        least -= *step;
    return fmax(least, 0);
}

static void put_point(const struct axes *a, const struct cli_summary *s, size_t rank, FILE *out)
{
    double x = x_of(a, (double)rank), y = y_of(a, s->cmc[rank - 1]);
    fprintf(
        out,
        "<circle class=\"point\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/><text class=\"%s\" x=\"%.1f\" "
        "y=\"%.1f\">%.1f</text>\n",
        x, y, rank == 1 ? "value" : "value middle", rank == 1 ? x + 8 : x,
        rank == 1 ? y + 5 : y + 19, s->cmc[rank - 1] * 100);
}

void cli_chart_cmc(const struct cli_summary *s, FILE *out)
{
    static const size_t shown[] = {1, 5, 10, 20};
    struct axes a = {.x_least = 1, .x_most = CLI_CMC_RANKS, .y_most = 1};
    double step;
    a.y_least = choose_least(s->cmc[0], &step);
    begin("CMC curve", out);
    put_y_axis(&a, step, 100, "Matching rate (%)", out);
    put_x_value(&a, 1, out);
    for (int rank = 10; rank <= CLI_CMC_RANKS; rank += 10)
        put_x_value(&a, rank, out);
    fputs("<polyline class=\"curve\" points=\"", out);
    for (size_t i = 0; i < CLI_CMC_RANKS; i++)
        fprintf(out, "%s%.1f,%.1f", i ? " " : "", x_of(&a, (double)i + 1), y_of(&a, s->cmc[i]));
    fputs("\"/>\n", out);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        put_point(&a, s, shown[i], out);
    end("Rank", out);
}

/* --- AP -----------------------------------------------------------------------------------------
 */

/* A round step of which at most five reach `most`. */
static double choose_step(uint64_t most)
{
    double step = 1;
    for (int i = 0; 5 * step < (double)most; i++)
        step *= i % 3 == 1 ? 2.5 : 2;
    return step;
}

static void put_bar(const struct axes *a, int bin, uint64_t count, FILE *out)
{
    double left = x_of(a, (double)bin / BINS), right = x_of(a, (double)(bin + 1) / BINS);
    double top = y_of(a, (double)count);
    fprintf(
        out,
        "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>AP %.2f "
        "to %.2f: %" PRIu64 "</title></rect>\n",
        left + 0.75, top, right - left - 1.5, BOTTOM - top, (double)bin / BINS,
        (double)(bin + 1) / BINS, count);
}

static void put_mean(const struct axes *a, double mean, FILE *out)
{
    double x = x_of(a, mean);
    fprintf(
        out,
        "<path class=\"mean\" d=\"M%.1f %dV%d\"/><text class=\"value %s\" x=\"%.1f\" y=\"%d\">mAP "
        "%.2f</text>\n",
        x, TOP - 4, BOTTOM, mean > 0.5 ? "end" : "start", mean > 0.5 ? x + 3 : x - 3, TOP - 10,
        mean * 100);
}

void cli_chart_ap(const struct cli_summary *s, const struct cli_query_figures *figures, FILE *out)
{
    uint64_t bins[BINS] = {0}, most = 1;
    for (size_t i = 0; i < s->queries; i++) {
        if (!figures[i].positives)
            continue;
        int bin = (int)(figures[i].ap * BINS);
        uint64_t *count = &bins[bin < BINS ? bin : BINS - 1];
        most = ++*count > most ? *count : most;
    }
    double step = choose_step(most);
    struct axes a = {.x_most = 1, .y_most = ceil((double)most / step) * step};
    begin("Histogram of average precision", out);
    put_y_axis(&a, step, 1, "Queries", out);
    for (int i = 0; i <= 5; i++)
        put_x_value(&a, i / 5.0, out);
    for (int i = 0; i < BINS; i++)
        if (bins[i])
            put_bar(&a, i, bins[i], out);
    put_mean(&a, s->map, out);
    end("Average precision", out);
}
