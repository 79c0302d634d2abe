/* gather.h: a planted fault, see tests/tidy/run. */
#ifndef CO_GATHER_H
#define CO_GATHER_H

struct co_other;

enum { CO_GATHER_SLOTS = 16 };

/* One gather. */
struct co_gather {
    int (*rand)(int n);
    const char *name;
};

enum co_state {
    CO_OPEN, /* takes answers */
};

/* Gathers. A run of declarations shares a comment. */
int co_gather(const struct co_gather *g);
void co_gather_fini(struct co_gather *g) __attribute__((cold));

int co_gather_count(void); /* a comment beside it does too */

#endif
