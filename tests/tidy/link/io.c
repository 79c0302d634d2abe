/* io.c: a planted fault, see tests/tidy/layers: a core that calls common/io. */
int io_pool_new(void *pool);

int planted(void *pool)
{
    return io_pool_new(pool);
}
