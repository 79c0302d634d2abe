/* bad.c: a planted fault, see tests/tidy/run. */
int wk_bad(void)
{
    return 1;
}
