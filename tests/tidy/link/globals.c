/* globals.c: planted faults, see tests/tidy/layers: variables that outlive a call. */
const char *const names[] = {"a", "b"};
static const int primes[] = {2, 3};
static int counter;
const char *pointer = "a";

int planted(int i)
{
    static int table[2] = {1, 2};
    return counter += table[i] + primes[i];
}
