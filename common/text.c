/* text.c: see text.h. */
#include "common/text.h"

#include "common/limits.h"

#include <string.h>

bool cm_int_of_text(const char *text, int64_t least, int64_t most, int64_t *out)
{
    bool negative = *text == '-';
    int64_t value = 0;
    if (negative)
        text++;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        int64_t digit = negative ? '0' - *text : *text - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    if (value < least || value > most)
        return false;
    *out = value;
    return true;
}

/* Bytes of the sequence that begins with `first`, and the range of its second byte, which is what
 * excludes overlong forms, surrogates and what lies beyond U+10FFFF. 0 if nothing begins so. */
static size_t sequence_bytes(unsigned char first, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef) {
        if (first == 0xe0)
            *low = 0xa0;
        if (first == 0xed)
            *high = 0x9f;
        return 3;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        if (first == 0xf0)
            *low = 0x90;
        if (first == 0xf4)
            *high = 0x8f;
        return 4;
    }
    return 0;
}

bool cm_is_utf8(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < size;) {
        unsigned char low, high;
        size_t n = sequence_bytes(p[i], &low, &high);
        if (n == 0 || n > size - i)
            return false;
        for (size_t k = 1; k < n; k++) {
            if (p[i + k] < low || p[i + k] > high)
                return false;
            low = 0x80;
            high = 0xbf;
        }
        i += n;
    }
    return true;
}

bool cm_is_node_name(const char *text)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t size = strlen(text);
    return size >= 1 && size <= CM_NODE_BYTES_MAX && strspn(text, allowed) == size;
}
