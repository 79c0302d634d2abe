/* bad.c: a planted fault, see tests/tidy/run. */
#include <isa-l/crc.h>
