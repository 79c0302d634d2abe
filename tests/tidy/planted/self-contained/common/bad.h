/* bad.h: a planted fault, see tests/tidy/run. */
#ifndef PLANTED_H
#define PLANTED_H

/* Gives. */
size_t cm_bad(void);

#endif
