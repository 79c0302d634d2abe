/* bad.c: a planted fault, see tests/tidy/run. */
#include <stdlib.h>

#include "common/bad.h"
