/* fuzz_wire.c: libFuzzer over the headers of the wire. The first byte picks how the rest is read: 0
 * by the type that it states, else as that type. What is accepted must pack, and the result must be
 * a fixed point.
 *
 *   clang -g -O1 -std=c11 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined -o build/fuzz_wire
 * \
 *       tests/fuzz/fuzz_wire.c tests/unit/proto/test_wire_examples.c proto/wire/[a-z]*.c
 * common/[a-z]*.c \ -lmsgpackc -lisal -lxxhash -lm */
#include "common/assert.h"
#include "proto/wire/validate.h"
#include "tests/unit/proto/test_wire_examples.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pr_envelope env;
    struct cm_error e;
    if (size == 0)
        return 0;
    struct cm_bytes header = {.data = data + 1, .size = size - 1};
    enum cm_err peeked = pr_peek(header, &env, &e);
    CM_ASSERT(peeked || pr_validate(header, &e) == CM_OK);
    uint32_t type = data[0] ? data[0] : env.type;
    if (!pr_type_name(type))
        return 0;
    struct pr_buffer once;
    struct pr_buffer twice;
    if (wire_repack(type, header, &once, &e))
        return 0;
    CM_ASSERT(!peeked && env.type == type);
    CM_ASSERT(wire_repack(type, pr_buffer_bytes(&once), &twice, &e) == CM_OK);
    CM_ASSERT(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
    pr_buffer_fini(&once);
    pr_buffer_fini(&twice);
    return 0;
}
