/* fuzz_wire.c: any bytes as a header: an error with a sentence, or a message that packs to a fixed
 * point. Its seeds are the golden bytes. */
#include "common/assert.h"
#include "proto/wire/validate.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/wire_repack.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pr_envelope env;
    struct pr_buffer once;
    struct pr_buffer twice;
    struct cm_error e = {0};
    struct cm_bytes header = {.data = data, .size = size};
    enum cm_err rc = pr_peek(header, &env, &e);
    CM_ASSERT(rc || pr_validate(header, &e) == CM_OK);
    for (uint32_t type = 1; pr_type_name(type); type++) {
        e.text[0] = '\0';
        if (wire_repack(type, header, &once, &e)) {
            CM_ASSERT(e.text[0] != '\0' && once.data == NULL);
            continue;
        }
        CM_ASSERT(!rc && env.type == type);
        CM_ASSERT(wire_repack(type, pr_buffer_bytes(&once), &twice, &e) == CM_OK);
        CM_ASSERT(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
        pr_buffer_fini(&once);
        pr_buffer_fini(&twice);
    }
    return 0;
}
