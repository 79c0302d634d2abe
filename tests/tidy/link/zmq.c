/* zmq.c: a planted fault, see tests/tidy/layers: a core that calls ZeroMQ. */
void *zmq_ctx_new(void);

void *planted(void)
{
    return zmq_ctx_new();
}
