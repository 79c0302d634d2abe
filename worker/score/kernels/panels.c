/* panels.c: see panels.h. */
#include "worker/score/kernels/panels.h"

#include "common/mem.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t sc_panels_floats(size_t columns, size_t depth)
{
    return cm_round_up(columns, SC_LANES) * depth;
}

enum { STEP = 16 }; /* depths moved at a time: one cache line of each column */

/* One panel, [depth][width] from columns `first` on. */
static void pack_panel(struct sc_rows m, size_t depth, size_t first, size_t width,
                       enum sc_padding padding, float *out)
{
    for (size_t k0 = 0; k0 < depth; k0 += STEP)
        for (size_t c = 0; c < width; c++) {
            bool zero = padding == SC_PAD_ZERO && first + c >= m.count;
            const float *column = m.data + smaller(first + c, m.count - 1) * m.stride;
            for (size_t k = k0; k < smaller(k0 + STEP, depth); k++)
                out[k * width + c] = zero ? 0 : column[k];
        }
}

void sc_panels_pack(const struct sc_kernel *kernel, struct sc_rows m, size_t depth,
                    enum sc_padding padding, float *out)
{
    size_t padded = cm_round_up(m.count, SC_LANES);
    for (size_t c = 0; c < padded; c += kernel->columns)
        pack_panel(m, depth, c, smaller(kernel->columns, padded - c), padding, out + c * depth);
}

size_t sc_mask_floats(const struct sc_kernel *k, size_t tokens)
{
    return (tokens + k->rows - 1) / k->rows * k->rows * cm_round_up(tokens, SC_LANES);
}

void sc_mask_pack(const struct sc_kernel *k, size_t tokens, const float *mask, float *out)
{
    size_t padded = cm_round_up(tokens, SC_LANES);
    for (size_t s = 0; s < tokens; s += k->rows)
        for (size_t t = 0; t < padded; t += k->columns)
            for (size_t r = s; r < s + k->rows; r++)
                for (size_t c = t; c < smaller(t + k->columns, padded); c++)
                    *out++ = mask[smaller(r, tokens - 1) * tokens + smaller(c, tokens - 1)];
}
