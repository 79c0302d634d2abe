/* gather_uv.c: a planted fault, see tests/tidy/run. */
#include "common/io/loop.h"
#include "coordinator/gather.h"

#include <time.h>
