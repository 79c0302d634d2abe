/* members.c: see members.h. */
#include "coordinator/members.h"

#include "common/assert.h"
#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

uint32_t co_members_find(const struct co_members *m, const struct cm_peer *peer)
{
    for (uint32_t i = 0; i < m->end; i++) {
        const struct co_member *s = &m->slots[i];
        if (s->used && cm_peer_equal(&s->peer, peer))
            return i;
    }
    return CO_NO_MEMBER;
}

uint32_t co_members_find_node(const struct co_members *m, const char *node)
{
    for (uint32_t i = 0; i < m->end; i++)
        if (m->slots[i].used && strcmp(m->slots[i].hello.node, node) == 0)
            return i;
    return CO_NO_MEMBER;
}

enum cm_err co_members_add(struct co_members *m, const struct cm_peer *peer, struct pr_hello *hello,
                           uint32_t shards, uint64_t now_ns, uint32_t *out, struct cm_error *e)
{
    void *holds;
    uint32_t i = 0;
    while (i < CM_MEMBERS_MAX && m->slots[i].used)
        i++;
    if (i == CM_MEMBERS_MAX)
        return cm_fail(e, CM_ELIMIT, "the cluster has %u workers, as many as it takes",
                       CM_MEMBERS_MAX);
    enum cm_err rc = cm_new(&holds, shards, 1, e);
    if (rc)
        return rc;
    m->slots[i] = (struct co_member){
        .used = true,
        .peer = *peer,
        .state = PR_MEMBER_READY,
        .heard_ns = now_ns,
        .replaced = hello->incarnation,
        .holds = holds,
        .node = UINT32_MAX,
        .order = CO_NO_SHARD,
        .giver = CO_NO_MEMBER,
        .speed = {.since_ns = now_ns},
        .hello = *hello,
    };
    *hello = (struct pr_hello){0};
    for (size_t h = 0; h < m->slots[i].hello.held_count; h++)
        co_member_gain(&m->slots[i], m->slots[i].hello.held[h].shard.v,
                       m->slots[i].hello.held[h].images);
    m->count++;
    if (i >= m->end)
        m->end = i + 1;
    *out = i;
    return CM_OK;
}

void co_members_remove(struct co_members *m, uint32_t member)
{
    CM_ASSERT(member < CM_MEMBERS_MAX && m->slots[member].used);
    free(m->slots[member].holds);
    pr_hello_fini(&m->slots[member].hello);
    m->slots[member] = (struct co_member){0};
    m->count--;
    while (m->end > 0 && !m->slots[m->end - 1].used)
        m->end--;
}

void co_members_fini(struct co_members *m)
{
    for (uint32_t i = m->end; i-- > 0;)
        if (m->slots[i].used)
            co_members_remove(m, i);
}

void co_member_gain(struct co_member *m, uint32_t shard, uint64_t images)
{
    CM_ASSERT(m->holds[shard] != CO_HELD);
    m->holds[shard] = CO_HELD;
    m->shards++;
    m->images += images;
}

void co_member_drop(struct co_member *m, uint32_t shard, uint64_t images, enum co_holding now)
{
    CM_ASSERT(m->holds[shard] == CO_HELD && now != CO_HELD);
    m->holds[shard] = (uint8_t)now;
    m->shards--;
    m->images -= images;
}
