/* uv.c: a planted fault, see tests/tidy/layers: a core that calls libuv. */
int uv_loop_init(void *loop);

int planted(void *loop)
{
    return uv_loop_init(loop);
}
