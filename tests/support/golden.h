/* golden.h: bytes of our own formats that must never change within a version. */
#ifndef TEST_GOLDEN_H
#define TEST_GOLDEN_H

#include <stddef.h>

/* Stops the test where tests/golden/format/`name` is not just these bytes, and says the first that
 * differs. With VITRINE_GOLDEN_WRITE=1 in the environment the file is written instead: only ever
 * for a new format version, in a folder of its own. */
void test_golden(const char *name, const void *data, size_t size);

#endif
