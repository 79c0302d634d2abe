/* ranges.c: see ranges.h. */
#include "common/ranges.h"

#include "common/mem.h"

#include <stdbool.h>
#include <stdlib.h>

/* One decimal number at *text, which moves behind it. */
static bool parse_number(const char **text, uint64_t *out)
{
    const char *p = *text;
    *out = 0;
    while (*p >= '0' && *p <= '9' && *out <= UINT32_MAX)
        *out = *out * 10 + (uint64_t)(*p++ - '0');
    bool any = p != *text;
    *text = p;
    return any && *out <= UINT32_MAX;
}

/* Marks the numbers of the list; false where it is no such list. */
static bool mark(const char *text, uint32_t end, uint8_t *wanted)
{
    for (;;) {
        uint64_t first, last;
        if (!parse_number(&text, &first))
            return false;
        last = first;
        if (*text == '-') {
            text++;
            if (!parse_number(&text, &last))
                return false;
        }
        if (last < first || last >= end)
            return false;
        for (uint64_t i = first; i <= last; i++)
            wanted[i] = 1;
        if (*text == '\0')
            return true;
        if (*text++ != ',')
            return false;
    }
}

enum cm_err cm_ranges_parse(const char *text, uint32_t end, uint32_t **out, uint32_t *count,
                            struct cm_error *e)
{
    void *wanted, *list;
    *out = NULL;
    *count = 0;
    enum cm_err rc = cm_new(&wanted, end, 1, e);
    if (rc)
        return rc;
    rc = cm_new(&list, end, sizeof **out, e);
    if (!rc && !mark(text, end, wanted))
        rc = cm_fail(e, CM_EUSAGE, "'%s' is no list of numbers from 0 to %u, such as \"0,2,5-7\"",
                     text, end - 1);
    for (uint32_t i = 0; !rc && i < end; i++)
        if (((uint8_t *)wanted)[i])
            ((uint32_t *)list)[(*count)++] = i;
    free(wanted);
    if (rc)
        free(list);
    else
        *out = list;
    return rc;
}
