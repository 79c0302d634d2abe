/* bad.c: a planted fault, see tests/tidy/run. */
/* FIXME: later */
