/* store.h: what lies in the folder that a worker fetches shards into, beside the gallery "g" of the
 * same cluster, and what the worker says meanwhile. Failures stop the test. */
#ifndef TEST_STORE_H
#define TEST_STORE_H

#include "tests/support/cluster.h"

#include <stdbool.h>
#include <stdint.h>

/* Is there such a file in the store? */
bool test_store_has(struct test_cluster *c, const char *store, const char *file);

/* The file must be there, byte by byte as in "g". */
void test_store_same(struct test_cluster *c, const char *store, const char *file);

/* Whatever has its own name in the store must be whole: the same as in "g". Returns how many files
 * that are. */
unsigned test_store_check(struct test_cluster *c, const char *store);

/* The same; that many files must be there, and be sound to `vitrine verify`. */
void test_store_whole(struct test_cluster *c, const char *store, unsigned files);

/* Bytes that are in the store, under whatever names. */
uint64_t test_store_bytes(struct test_cluster *c, const char *store);

/* Is this text in what a program said on stderr? */
bool test_says(const struct test_run *r, const char *text);
/* Waits until it is, a minute at the most. */
void test_wait_says(const struct test_run *r, const char *text);

#endif
