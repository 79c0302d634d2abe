/* ranges.h: lists of numbers as people type them: "0,2,5-7". Pure; any thread. */
#ifndef CM_RANGES_H
#define CM_RANGES_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

/* The numbers of such a list, ascending and each once, in *out, which the caller frees. All must be
 * below `end`. Errors: CM_EUSAGE (says what is wrong with the list), CM_ENOMEM. */
enum cm_err cm_ranges_parse(const char *text, uint32_t end, uint32_t **out, uint32_t *count,
                            struct cm_error *e) __attribute__((warn_unused_result));

#endif
