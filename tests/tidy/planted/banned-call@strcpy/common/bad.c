/* bad.c: a planted fault, see tests/tidy/run. */
void cm_bad(char *a, char *b)
{
    strcpy(a, b);
}
