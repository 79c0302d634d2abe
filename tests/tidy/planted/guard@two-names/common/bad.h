/* bad.h: a planted fault, see tests/tidy/run. */
#ifndef PLANTED_H
#define PLANTED_B

#endif
