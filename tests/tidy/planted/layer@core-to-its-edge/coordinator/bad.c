/* bad.c: a planted fault, see tests/tidy/run. */
#include "coordinator/coordinator_uv.h"
