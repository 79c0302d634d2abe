/* text.h: which text may travel. Pure; any thread.
 *
 * Text that a peer sends ends up on terminals and in logs, so it is strict UTF-8 without control
 * characters (C0, DEL, C1). */
#ifndef PR_TEXT_H
#define PR_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length in bytes of the printable UTF-8 character at `text`, of which `left` bytes are there; 0 if
 * there is none. */
size_t pr_text_char(const char *text, size_t left);

/* True if all `size` bytes are printable UTF-8. */
bool pr_text_ok(const char *text, size_t size);

/* Copies `size` bytes; each byte that belongs to no printable character becomes '?'. No NUL is
 * appended. */
void pr_text_clean(char *out, const char *text, size_t size);

/* True if `text` is a numeric class: 1 to CM_CLASS_BYTES_MAX printable ASCII characters, neither
 * space nor quote. */
bool pr_class_ok(const char *text);

#endif
