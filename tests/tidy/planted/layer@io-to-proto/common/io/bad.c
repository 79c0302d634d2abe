/* bad.c: a planted fault, see tests/tidy/run. */
#include "proto/wire/hello.h"
