/* refusal.h: what every command owes to a bad input: one line, the right exit code, no trace. */
#ifndef TEST_REFUSAL_H
#define TEST_REFUSAL_H

#include "tests/support/inputs.h"
#include "tests/support/run.h"

/* What a refusal must say. */
struct test_refusal {
    int code;         /* exit code, see common/options.h */
    const char *what; /* the file or flag that it must name; NULL: nothing to look for */
    const char *part; /* of the sentence: what is wrong, or what to do */
};

/* Runs argv and checks that it ends with want->code, that stderr is one line, begins with the name
 * of the command and holds `what` and `part`, and that stdout is empty. */
void test_refused(const char *const argv[], const struct test_refusal *want);

/* import of these inputs into t->out is refused, and leaves neither it nor its unfinished form. */
void test_import_refused(const struct test_inputs *t, const struct test_refusal *want);

/* score of t->query against t->gallery is refused, and leaves nothing beside the inputs. */
void test_score_refused(const struct test_inputs *t, const struct test_refusal *want);

/* A search of the gallery t->out with t->query (and t->query_meta if with_meta) is refused. */
void test_search_refused(const struct test_inputs *t, bool with_meta,
                         const struct test_refusal *want);

#endif
