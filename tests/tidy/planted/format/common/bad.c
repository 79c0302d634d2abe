/* bad.c: a planted fault, see tests/tidy/run. */
int   cm_bad(void) { return 1; }
