/* weights_file.h: made-up weights as a file. */
#ifndef TEST_WEIGHTS_FILE_H
#define TEST_WEIGHTS_FILE_H

#include "tests/support/weights_gen.h"

/* Writes them as a .safetensors file, as users have it. Stops the test on a failure. */
void test_weights_save(const struct test_weights *t, const char *path);

#endif
