/* text.c: see text.h. */
#include "proto/wire/text.h"

#include "common/limits.h"

#include <stdint.h>
#include <string.h>

/* Bytes that the first byte of a UTF-8 sequence announces; 0 if none begins with it. */
static size_t sequence_bytes(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xc0 && first < 0xe0)
        return 2;
    if (first >= 0xe0 && first < 0xf0)
        return 3;
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

size_t pr_text_char(const char *text, size_t left)
{
    static const uint32_t least[] = {0, 0x20, 0xa0, 0x800,
                                     0x10000}; /* below: control or overlong */
    const uint8_t *p = (const uint8_t *)text;
    size_t n = left > 0 ? sequence_bytes(p[0]) : 0;
    if (n == 0 || n > left)
        return 0;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    bool surrogate = c >= 0xd800 && c <= 0xdfff;
    return c < least[n] || c == 0x7f || surrogate || c > 0x10ffff ? 0 : n;
}

/* Are these eight bytes all printable ASCII? In each byte the highest bit tells: it is set in one
 * that is no ASCII, becomes so in one below ' ' when that is taken away, and in DEL by one more. */
static bool is_plain(const char *eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t v;
    memcpy(&v, eight, sizeof v);
    return ((v | (v - ones * ' ') | (v + ones)) & ones * 0x80) == 0;
}

bool pr_text_ok(const char *text, size_t size)
{
    const size_t eight = sizeof(uint64_t);
    for (size_t i = 0; i < size;) {
        size_t left = size - i, n = eight;
        if (left < eight && size >= eight && is_plain(text + size - eight))
            return true; /* what is left is the end of these */
        if (left < eight || !is_plain(text + i))
            n = pr_text_char(text + i, left);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void pr_text_clean(char *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t n = pr_text_char(text + i, size - i);
        if (n == 0)
            out[i++] = '?';
        for (; n > 0; n--, i++)
            out[i] = text[i];
    }
}

bool pr_class_ok(const char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\'')
            return false;
    return size >= 1 && size <= CM_CLASS_BYTES_MAX;
}
