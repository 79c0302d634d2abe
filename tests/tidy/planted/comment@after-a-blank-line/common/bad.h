/* bad.h: a planted fault, see tests/tidy/run. */
#ifndef PLANTED_H
#define PLANTED_H

/* Does. */
void cm_good(void);

int cm_bad(const char *text, int n);

#endif
