/* mailbox.h: messages that a core sent, kept in order until a test takes them. Failures stop the
 * test. */
#ifndef TEST_MAILBOX_H
#define TEST_MAILBOX_H

#include "common/blob.h"
#include "common/types.h"
#include "proto/wire/envelope.h"

#include <stddef.h>
#include <stdint.h>

/* One message, with bytes of its own. */
struct test_message {
    struct test_message *next;
    struct cm_peer to; /* size 0: to the coordinator */
    struct pr_envelope envelope;
    struct cm_bytes header;
    struct cm_blob *payload; /* a reference, or NULL */
    uint64_t due_ns;         /* when it arrives; for tests with a network of their own */
};

/* Zero-initialise. */
struct test_mailbox {
    struct test_message *head, *tail;
    size_t count;
};

/* An address that reads as `name`. */
struct cm_peer test_peer(const char *name);

/* Appends a message; `to` may be NULL. What is no message of this protocol stops the test. */
struct test_message *test_mailbox_put(struct test_mailbox *m, const struct cm_peer *to,
                                      struct cm_bytes header, struct cm_blob *payload);

/* Takes the first message, or NULL; free it with test_message_free. */
struct test_message *test_mailbox_pop(struct test_mailbox *m);

/* Takes the first message to `name`, which must be of this type. */
struct test_message *test_mailbox_take(struct test_mailbox *m, const char *name, uint32_t type);

/* How many messages of this type wait for `name`; NULL for anybody, type 0 for any. */
size_t test_mailbox_count(const struct test_mailbox *m, const char *name, uint32_t type);

/* Frees one message, or all that are left. */
void test_message_free(struct test_message *m);
void test_mailbox_clear(struct test_mailbox *m);

#endif
