/* bad.c: a planted fault, see tests/tidy/run. */
#define CM_BAD(a, b)  \
    do {              \
        strcpy(a, b); \
    } while (0)
