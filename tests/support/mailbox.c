/* mailbox.c: see mailbox.h. */
#include "tests/support/mailbox.h"

#include "common/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct cm_peer test_peer(const char *name)
{
    struct cm_peer peer = {.size = (uint8_t)strlen(name)};
    memcpy(peer.bytes, name, peer.size);
    return peer;
}

struct test_message *test_mailbox_put(struct test_mailbox *m, const struct cm_peer *to,
                                      struct cm_bytes header, struct cm_blob *payload)
{
    struct cm_error e;
    void *p, *bytes;
    cr_assert_eq(cm_new(&p, 1, sizeof(struct test_message), &e), CM_OK);
    cr_assert_eq(cm_new(&bytes, header.size, 1, &e), CM_OK);
    memcpy(bytes, header.data, header.size);
    struct test_message *message = p;
    message->header = (struct cm_bytes){bytes, header.size};
    message->payload = payload ? cm_blob_ref(payload) : NULL;
    if (to)
        message->to = *to;
    cr_assert_eq(pr_peek(header, &message->envelope, &e), CM_OK, "%s", e.text);
    *(m->tail ? &m->tail->next : &m->head) = message;
    m->tail = message;
    m->count++;
    return message;
}

/* Unlinks `message`, which follows `before` (NULL: it is the first). */
static struct test_message *unlink_after(struct test_mailbox *m, struct test_message *before,
                                         struct test_message *message)
{
    *(before ? &before->next : &m->head) = message->next;
    if (m->tail == message)
        m->tail = before;
    message->next = NULL;
    m->count--;
    return message;
}

struct test_message *test_mailbox_pop(struct test_mailbox *m)
{
    return m->head ? unlink_after(m, NULL, m->head) : NULL;
}

struct test_message *test_mailbox_take(struct test_mailbox *m, const char *name, uint32_t type)
{
    struct cm_peer peer = test_peer(name);
    struct test_message *before = NULL, *message = m->head;
    while (message && !cm_peer_equal(&message->to, &peer)) {
        before = message;
        message = message->next;
    }
    cr_assert(message != NULL, "no message for %s; %s was awaited", name, pr_type_name(type));
    cr_assert_eq(message->envelope.type, type, "%s got %s instead of %s", name,
                 pr_type_name(message->envelope.type), pr_type_name(type));
    return unlink_after(m, before, message);
}

size_t test_mailbox_count(const struct test_mailbox *m, const char *name, uint32_t type)
{
    size_t count = 0;
    struct cm_peer peer = test_peer(name ? name : "");
    for (const struct test_message *i = m->head; i; i = i->next)
        count += (!name || cm_peer_equal(&i->to, &peer)) && (!type || i->envelope.type == type);
    return count;
}

void test_message_free(struct test_message *m)
{
    if (!m)
        return;
    free((void *)(uintptr_t)m->header.data);
    cm_blob_unref(&m->payload);
    free(m);
}

void test_mailbox_clear(struct test_mailbox *m)
{
    while (m->head)
        test_message_free(test_mailbox_pop(m));
}
