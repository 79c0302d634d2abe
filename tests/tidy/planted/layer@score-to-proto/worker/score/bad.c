/* bad.c: a planted fault, see tests/tidy/run. */
#include "proto/file/npy.h"
