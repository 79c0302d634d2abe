/* bad.h: a planted fault, see tests/tidy/run. */
#ifndef PLANTED_H
#define PLANTED_H

static inline int cm_bad(void)
{
    return 1; /* one */
}

#endif
