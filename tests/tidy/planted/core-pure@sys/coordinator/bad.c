/* bad.c: a planted fault, see tests/tidy/run. */
#include <sys/mman.h>
