/* bad.c: a planted fault, see tests/tidy/run. */
#include "common/io/loop.h"
