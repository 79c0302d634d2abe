/* assert.h: the panic border.
 *
 * CM_ASSERT states what only a bug in this program can break; it stays on in every build and stops
 * the process with the place. What the world can cause (input, peers, memory, disk) is a cm_err. */
#ifndef CM_ASSERT_H
#define CM_ASSERT_H

/* Prints "assertion failed" with the expression and place on stderr, then abort(). */
_Noreturn void cm_assert_failed(const char *expression, const char *file, int line);

#define CM_ASSERT(expression) \
    ((expression) ? (void)0 : cm_assert_failed(#expression, __FILE__, __LINE__))

#endif
