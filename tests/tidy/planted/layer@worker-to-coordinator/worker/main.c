/* main.c: a planted fault, see tests/tidy/run. */
#include "coordinator/gather.h"
