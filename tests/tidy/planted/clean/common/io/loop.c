/* loop.c: a planted fault, see tests/tidy/run. */
#include <uv.h>
#include <zmq.h>
