/* main.c: links the cores, see tests/tidy/layers. */
int main(void)
{
    return 0;
}
