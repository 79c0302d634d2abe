/* bad.c: a planted fault, see tests/tidy/run. */
void wk_bad(void)
{
    usleep(1);
}
