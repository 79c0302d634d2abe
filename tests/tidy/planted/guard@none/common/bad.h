/* bad.h: a planted fault, see tests/tidy/run. */
/* Nothing. */
void cm_good(void);
