/* message.c: the messages of net.h: copied when sent, freed when received. */
#include "common/assert.h"
#include "tests/sim/net.h"

#include <stdlib.h>
#include <string.h>

struct cm_peer sim_peer(const char *text)
{
    struct cm_peer peer = {.size = (uint8_t)strlen(text)};
    memcpy(peer.bytes, text, peer.size);
    return peer;
}

static void read_envelope(struct sim_message *m)
{
    struct cm_error e;
    CM_ASSERT(pr_peek(m->header, &m->envelope, &e) == CM_OK);
}

struct sim_message *sim_message_new(struct cm_bytes header, struct cm_blob *payload)
{
    struct sim_message *m = calloc(1, sizeof *m);
    void *bytes = malloc(header.size);
    CM_ASSERT(m && bytes);
    memcpy(bytes, header.data, header.size);
    m->header = (struct cm_bytes){bytes, header.size};
    m->payload = payload ? cm_blob_ref(payload) : NULL;
    read_envelope(m);
    return m;
}

struct sim_message *sim_message_copy(const struct sim_message *m)
{
    struct sim_message *copy = sim_message_new(m->header, m->payload);
    copy->scored = m->scored;
    return copy;
}

void sim_message_free(struct sim_message *m)
{
    if (!m)
        return;
    free((void *)(uintptr_t)m->header.data);
    cm_blob_unref(&m->payload);
    free(m);
}

void sim_message_repack(struct sim_message *m, void *data, size_t size)
{
    free((void *)(uintptr_t)m->header.data);
    m->header = (struct cm_bytes){data, size};
    read_envelope(m);
}
