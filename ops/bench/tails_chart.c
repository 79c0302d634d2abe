/* tails_chart.c: see tails_chart.h. */
#include "ops/bench/tails_chart.h"

#include "ops/bench/support.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The drawing area within the picture, in its units. */
enum { WIDTH = 720, HEIGHT = 360, LEFT = 64, RIGHT = 704, TOP = 24, BOTTOM = 310 };
enum { DECADES = 3 };

static FILE *open_out(const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f)
        bench_fail("%s: %s", path, strerror(errno));
    return f;
}

static void close_out(FILE *f, const char *path)
{
    if (ferror(f) | fclose(f))
        bench_fail("%s: cannot be written", path);
}

void tails_write_csv(const struct tails_chart *c, const char *path)
{
    FILE *f = open_out(path);
    fprintf(f, "second");
    for (int i = 0; i < TAILS_CURVES; i++)
        fprintf(f, ",%s p50 ms,%s p99 ms", c->curves[i].name, c->curves[i].name);
    for (int s = 0; s < c->seconds; s++) {
        fprintf(f, "\n%d", s);
        for (int i = 0; i < TAILS_CURVES; i++)
            fprintf(f, ",%.2f,%.2f", c->curves[i].p50_ms[s], c->curves[i].p99_ms[s]);
    }
    fprintf(f, "\n");
    close_out(f, path);
}

static double x_of(const struct tails_chart *c, double s)
{
    return LEFT + s / c->seconds * (RIGHT - LEFT);
}

static double y_of(double ms)
{
    double decades = log10(fmax(ms, 1));
    return BOTTOM - fmin(decades, DECADES) / DECADES * (BOTTOM - TOP);
}

static void put_axes(const struct tails_chart *c, FILE *f)
{
    double from = x_of(c, c->from_s), to = x_of(c, c->to_s);
    fprintf(f,
            "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"#f3ead8\"/>\n"
            "<text x=\"%.1f\" y=\"%d\" fill=\"#806020\">one of five workers ten times slower"
            "</text>\n",
            from, TOP, to - from, BOTTOM - TOP, from + 6, TOP + 14);
    for (int d = 0; d <= DECADES; d++) {
        double ms = pow(10, d), y = y_of(ms);
        fprintf(f,
                "<path d=\"M%d %.1fH%d\" stroke=\"#ccc\"/><text x=\"%d\" y=\"%.1f\" "
                "text-anchor=\"end\">%.0f ms</text>\n",
                LEFT, y, RIGHT, LEFT - 6, y + 4, ms);
    }
    for (int s = 0; s <= c->seconds; s += 10)
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d s</text>\n", x_of(c, s),
                BOTTOM + 16, s);
}

static void put_curve(const struct tails_chart *c, int i, FILE *f)
{
    static const char *const colours[TAILS_CURVES] = {"#b03030", "#c08000", "#2060b0"};
    int left = LEFT + 170 * i, y = BOTTOM + 38;
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" points=\"", colours[i]);
    for (int s = 0; s < c->seconds; s++)
        fprintf(f, "%.1f,%.1f ", x_of(c, s + 0.5), y_of(c->curves[i].p99_ms[s]));
    fprintf(f,
            "\"/>\n<path d=\"M%d %dh24\" stroke=\"%s\" stroke-width=\"3\"/><text x=\"%d\" "
            "y=\"%d\">%s</text>\n",
            left, y - 4, colours[i], left + 30, y, c->curves[i].name);
}

void tails_write_svg(const struct tails_chart *c, const char *path)
{
    FILE *f = open_out(path);
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
            "aria-label=\"p99 of each second\" font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_axes(c, f);
    for (int i = 0; i < TAILS_CURVES; i++)
        put_curve(c, i, f);
    fprintf(f,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">p99 of each second"
            "</text>\n</svg>\n",
            RIGHT, TOP - 6);
    close_out(f, path);
}
