/* bad.c: a planted fault, see tests/tidy/run. */
#include <jansson.h>
