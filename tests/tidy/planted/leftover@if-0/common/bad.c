/* bad.c: a planted fault, see tests/tidy/run. */
#if 0
#endif
