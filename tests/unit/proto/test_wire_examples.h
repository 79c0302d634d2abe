/* test_wire_examples.h: one fixed message of each type, and a way to treat all types alike. Shared
 * by the tests of proto/wire and by tests/fuzz/fuzz_wire.c. */
#ifndef TEST_WIRE_EXAMPLES_H
#define TEST_WIRE_EXAMPLES_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

enum { WIRE_EXAMPLES = 31 };

struct wire_example {
    enum pr_type type;
    const char *file; /* under tests/golden/wire/v1/ */
};

/* All of them, one for each type. */
extern const struct wire_example wire_examples[WIRE_EXAMPLES];

/* Packs the example of a type. */
enum cm_err wire_example_pack(enum pr_type type, struct pr_buffer *out, struct cm_error *e);

#endif
