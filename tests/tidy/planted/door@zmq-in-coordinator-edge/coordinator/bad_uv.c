/* bad_uv.c: a planted fault, see tests/tidy/run. */
#include <zmq.h>
