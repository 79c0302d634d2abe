/* text.h: numbers and UTF-8 in text from outside. Pure; any thread; no locale. */
#ifndef CM_TEXT_H
#define CM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole number that `text` is: an optional '-' and decimal digits, nothing else. False, and
 * *out untouched, for anything else and for a value outside [least, most]. */
bool cm_int_of_text(const char *text, int64_t least, int64_t most, int64_t *out);

/* True if the bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
bool cm_is_utf8(const char *text, size_t size);

/* True if `text` is a node's name: 1 to CM_NODE_BYTES_MAX of A-Z a-z 0-9 . _ - */
bool cm_is_node_name(const char *text);

#endif
