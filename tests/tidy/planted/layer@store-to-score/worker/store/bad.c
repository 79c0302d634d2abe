/* bad.c: a planted fault, see tests/tidy/run. */
#include "worker/score/score.h"
