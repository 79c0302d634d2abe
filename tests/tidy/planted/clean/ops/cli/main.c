/* main.c: a planted fault, see tests/tidy/run. */
#include "worker/store/store.h"

#include <jansson.h>

int main(void)
{
    return 0;
}
