/* speed.c: see speed.h. */
#include "coordinator/speed.h"

#include <math.h>

#define MEMORY_NS 1e9
/* So much work at the mean speed everybody is credited with. */
#define CREDIT_NS 2e8

void co_speed_begin(struct co_speed *s, uint64_t now_ns)
{
    if (!s->unanswered)
        s->owing_ns = now_ns;
    s->unanswered = true;
    s->since_ns = now_ns;
}

void co_speed_add(struct co_speed *s, uint64_t images, uint64_t now_ns)
{
    double took_ns = (double)(now_ns - s->since_ns), keep = MEMORY_NS / (MEMORY_NS + took_ns);
    s->images = keep * s->images + (double)images;
    s->busy_ns = keep * s->busy_ns + took_ns;
    s->since_ns = now_ns;
    s->owing_ns = now_ns;
    s->unanswered = false;
}

/* How much of what it did counts, now that its last answer is so old. */
static double counts(const struct co_speed *s, uint64_t now_ns)
{
    return MEMORY_NS / (MEMORY_NS + (double)(now_ns - s->since_ns));
}

void co_speed_sum(struct co_speed *all, const struct co_speed *s, uint64_t now_ns)
{
    all->images += counts(s, now_ns) * s->images;
    all->busy_ns += counts(s, now_ns) * s->busy_ns;
}

double co_speed_shown(const struct co_speed *s, const struct co_speed *all, bool owes,
                      uint64_t now_ns)
{
    double took_ns = s->busy_ns;
    if (s->images <= 0 || all->busy_ns <= 0)
        return INFINITY;
    if (owes || s->unanswered)
        took_ns += (double)(now_ns - s->owing_ns) / 2;
    return took_ns / s->images * all->images / all->busy_ns;
}

double co_speed_cost(const struct co_speed *s, const struct co_speed *all, uint64_t now_ns)
{
    if (all->images <= 0 || all->busy_ns <= 0)
        return 1;
    double part = counts(s, now_ns), usual_ns = s->images * all->busy_ns / all->images;
    double cost = (part * s->busy_ns + CREDIT_NS) / (part * usual_ns + CREDIT_NS);
    if (cost > CO_SPEED_MOST)
        return CO_SPEED_MOST;
    return cost < 1 / CO_SPEED_MOST ? 1 / CO_SPEED_MOST : cost;
}
