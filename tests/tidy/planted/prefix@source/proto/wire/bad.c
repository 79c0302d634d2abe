/* bad.c: a planted fault, see tests/tidy/run. */
int bad(void)
{
    return 1;
}
