/* wire_repack.h: a message of any type unpacked and packed again, for the fuzzer and the tests of
 * proto/wire.
 */
#ifndef WIRE_REPACK_H
#define WIRE_REPACK_H

#include "proto/wire/answer.h"
#include "proto/wire/control.h"
#include "proto/wire/count.h"
#include "proto/wire/error.h"
#include "proto/wire/evaluate.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/hello.h"
#include "proto/wire/join.h"
#include "proto/wire/measure.h"
#include "proto/wire/measured.h"
#include "proto/wire/operate.h"
#include "proto/wire/place.h"
#include "proto/wire/positives.h"
#include "proto/wire/query.h"
#include "proto/wire/refuse.h"
#include "proto/wire/result.h"
#include "proto/wire/scores.h"
#include "proto/wire/search.h"
#include "proto/wire/status.h"
#include "proto/wire/transfer.h"
#include "proto/wire/welcome.h"

/* As HELLO. */
static inline enum cm_err repack_hello(struct cm_bytes header, struct pr_buffer *out,
                                       struct cm_error *e)
{
    struct pr_hello m;
    enum cm_err rc = pr_hello_unpack(header, &m, e);
    if (!rc)
        rc = pr_hello_pack(&m, out, e);
    pr_hello_fini(&m);
    return rc;
}

/* As WELCOME. */
static inline enum cm_err repack_welcome(struct cm_bytes header, struct pr_buffer *out,
                                         struct cm_error *e)
{
    struct pr_welcome m;
    enum cm_err rc = pr_welcome_unpack(header, &m, e);
    if (!rc)
        rc = pr_welcome_pack(&m, out, e);
    return rc;
}

/* As REFUSE. */
static inline enum cm_err repack_refuse(struct cm_bytes header, struct pr_buffer *out,
                                        struct cm_error *e)
{
    struct pr_refuse m;
    enum cm_err rc = pr_refuse_unpack(header, &m, e);
    if (!rc)
        rc = pr_refuse_pack(&m, out, e);
    return rc;
}

/* As HEARTBEAT. */
static inline enum cm_err repack_heartbeat(struct cm_bytes header, struct pr_buffer *out,
                                           struct cm_error *e)
{
    struct pr_heartbeat m;
    enum cm_err rc = pr_heartbeat_unpack(header, &m, e);
    if (!rc)
        rc = pr_heartbeat_pack(&m, out, e);
    return rc;
}

/* As SEARCH. */
static inline enum cm_err repack_search(struct cm_bytes header, struct pr_buffer *out,
                                        struct cm_error *e)
{
    struct pr_search m;
    enum cm_err rc = pr_search_unpack(header, &m, e);
    if (!rc)
        rc = pr_search_pack(&m, out, e);
    pr_search_fini(&m);
    return rc;
}

/* As RESULT. */
static inline enum cm_err repack_result(struct cm_bytes header, struct pr_buffer *out,
                                        struct cm_error *e)
{
    struct pr_result m;
    enum cm_err rc = pr_result_unpack(header, &m, e);
    if (!rc)
        rc = pr_result_pack(&m, out, e);
    pr_result_fini(&m);
    return rc;
}

/* As QUERY. */
static inline enum cm_err repack_query(struct cm_bytes header, struct pr_buffer *out,
                                       struct cm_error *e)
{
    struct pr_query m;
    enum cm_err rc = pr_query_unpack(header, &m, e);
    if (!rc)
        rc = pr_query_pack(&m, out, e);
    return rc;
}

/* As ANSWER. */
static inline enum cm_err repack_answer(struct cm_bytes header, struct pr_buffer *out,
                                        struct cm_error *e)
{
    struct pr_answer m;
    enum cm_err rc = pr_answer_unpack(header, &m, e);
    if (!rc)
        rc = pr_answer_pack(&m, out, e);
    pr_answer_fini(&m);
    return rc;
}

/* As ERROR. */
static inline enum cm_err repack_error(struct cm_bytes header, struct pr_buffer *out,
                                       struct cm_error *e)
{
    struct pr_error m;
    enum cm_err rc = pr_error_unpack(header, &m, e);
    if (!rc)
        rc = pr_error_pack(&m, out, e);
    return rc;
}

/* As STATUS. */
static inline enum cm_err repack_status(struct cm_bytes header, struct pr_buffer *out,
                                        struct cm_error *e)
{
    struct pr_status m;
    enum cm_err rc = pr_status_unpack(header, &m, e);
    if (!rc)
        rc = pr_status_pack(&m, out, e);
    pr_status_fini(&m);
    return rc;
}

/* As EVALUATE. */
static inline enum cm_err repack_evaluate(struct cm_bytes header, struct pr_buffer *out,
                                          struct cm_error *e)
{
    struct pr_evaluate m;
    enum cm_err rc = pr_evaluate_unpack(header, &m, e);
    if (!rc)
        rc = pr_evaluate_pack(&m, out, e);
    return rc;
}

/* As MEASURE. */
static inline enum cm_err repack_measure(struct cm_bytes header, struct pr_buffer *out,
                                         struct cm_error *e)
{
    struct pr_measure m;
    enum cm_err rc = pr_measure_unpack(header, &m, e);
    if (!rc)
        rc = pr_measure_pack(&m, out, e);
    pr_measure_fini(&m);
    return rc;
}

/* As POSITIVES. */
static inline enum cm_err repack_positives(struct cm_bytes header, struct pr_buffer *out,
                                           struct cm_error *e)
{
    struct pr_positives_message m;
    enum cm_err rc = pr_positives_unpack(header, &m, e);
    if (!rc)
        rc = pr_positives_pack(&m, out, e);
    pr_positives_message_fini(&m);
    return rc;
}

/* As COUNT. */
static inline enum cm_err repack_count(struct cm_bytes header, struct pr_buffer *out,
                                       struct cm_error *e)
{
    struct pr_count m;
    enum cm_err rc = pr_count_unpack(header, &m, e);
    if (!rc)
        rc = pr_count_pack(&m, out, e);
    pr_count_fini(&m);
    return rc;
}

/* As COUNTS. */
static inline enum cm_err repack_counts(struct cm_bytes header, struct pr_buffer *out,
                                        struct cm_error *e)
{
    struct pr_counts_message m;
    enum cm_err rc = pr_counts_unpack(header, &m, e);
    if (!rc)
        rc = pr_counts_pack(&m, out, e);
    pr_counts_fini(&m);
    return rc;
}

/* As SCORES. */
static inline enum cm_err repack_scores(struct cm_bytes header, struct pr_buffer *out,
                                        struct cm_error *e)
{
    struct pr_scores m;
    enum cm_err rc = pr_scores_unpack(header, &m, e);
    if (!rc)
        rc = pr_scores_pack(&m, out, e);
    return rc;
}

/* As MEASURED. */
static inline enum cm_err repack_measured(struct cm_bytes header, struct pr_buffer *out,
                                          struct cm_error *e)
{
    struct pr_measured m;
    enum cm_err rc = pr_measured_unpack(header, &m, e);
    if (!rc)
        rc = pr_measured_pack(&m, out, e);
    pr_measured_fini(&m);
    return rc;
}

/* As JOIN. */
static inline enum cm_err repack_join(struct cm_bytes header, struct pr_buffer *out,
                                      struct cm_error *e)
{
    struct pr_join m;
    enum cm_err rc = pr_join_unpack(header, &m, e);
    if (!rc)
        rc = pr_join_pack(&m, out, e);
    return rc;
}

/* As GIVERS. */
static inline enum cm_err repack_givers(struct cm_bytes header, struct pr_buffer *out,
                                        struct cm_error *e)
{
    struct pr_givers m;
    enum cm_err rc = pr_givers_unpack(header, &m, e);
    if (!rc)
        rc = pr_givers_pack(&m, out, e);
    return rc;
}

/* As PLACE. */
static inline enum cm_err repack_place(struct cm_bytes header, struct pr_buffer *out,
                                       struct cm_error *e)
{
    struct pr_place m;
    enum cm_err rc = pr_place_unpack(header, &m, e);
    if (!rc)
        rc = pr_place_pack(&m, out, e);
    return rc;
}

/* As HOLDS. */
static inline enum cm_err repack_holds(struct cm_bytes header, struct pr_buffer *out,
                                       struct cm_error *e)
{
    struct pr_holds m;
    enum cm_err rc = pr_holds_unpack(header, &m, e);
    if (!rc)
        rc = pr_holds_pack(&m, out, e);
    return rc;
}

/* As READ. */
static inline enum cm_err repack_read(struct cm_bytes header, struct pr_buffer *out,
                                      struct cm_error *e)
{
    struct pr_read m;
    enum cm_err rc = pr_read_unpack(header, &m, e);
    if (!rc)
        rc = pr_read_pack(&m, out, e);
    return rc;
}

/* As BLOCK. */
static inline enum cm_err repack_block(struct cm_bytes header, struct pr_buffer *out,
                                       struct cm_error *e)
{
    struct pr_block m;
    enum cm_err rc = pr_block_unpack(header, &m, e);
    if (!rc)
        rc = pr_block_pack(&m, out, e);
    return rc;
}

/* As DRAIN. */
static inline enum cm_err repack_drain(struct cm_bytes header, struct pr_buffer *out,
                                       struct cm_error *e)
{
    struct pr_drain m;
    enum cm_err rc = pr_drain_unpack(header, &m, e);
    if (!rc)
        rc = pr_drain_pack(&m, out, e);
    return rc;
}

/* As REPLICAS. */
static inline enum cm_err repack_replicas(struct cm_bytes header, struct pr_buffer *out,
                                          struct cm_error *e)
{
    struct pr_replicas m;
    enum cm_err rc = pr_replicas_unpack(header, &m, e);
    if (!rc)
        rc = pr_replicas_pack(&m, out, e);
    return rc;
}

/* As PLACED. */
static inline enum cm_err repack_placed(struct cm_bytes header, struct pr_buffer *out,
                                        struct cm_error *e)
{
    struct pr_placed m;
    enum cm_err rc = pr_placed_unpack(header, &m, e);
    if (!rc)
        rc = pr_placed_pack(&m, out, e);
    return rc;
}

/* The five without fields. */
static inline enum cm_err repack_control(enum pr_type type, struct cm_bytes header,
                                         struct pr_buffer *out, struct cm_error *e)
{
    struct pr_control m;
    enum cm_err rc = pr_control_unpack(header, type, &m, e);
    return rc ? rc : pr_control_pack(&m, out, e);
}

/* Unpacks a message as `type`, packs what came out into *out and frees it; *out is empty after a
 * failure. */
static inline enum cm_err wire_repack(enum pr_type type, struct cm_bytes header,
                                      struct pr_buffer *out, struct cm_error *e)
{
    *out = (struct pr_buffer){0};
    switch (type) {
    case PR_HELLO:
        return repack_hello(header, out, e);
    case PR_WELCOME:
        return repack_welcome(header, out, e);
    case PR_REFUSE:
        return repack_refuse(header, out, e);
    case PR_HEARTBEAT:
        return repack_heartbeat(header, out, e);
    case PR_SEARCH:
        return repack_search(header, out, e);
    case PR_RESULT:
        return repack_result(header, out, e);
    case PR_QUERY:
        return repack_query(header, out, e);
    case PR_ANSWER:
        return repack_answer(header, out, e);
    case PR_ERROR:
        return repack_error(header, out, e);
    case PR_STATUS:
        return repack_status(header, out, e);
    case PR_EVALUATE:
        return repack_evaluate(header, out, e);
    case PR_MEASURE:
        return repack_measure(header, out, e);
    case PR_POSITIVES:
        return repack_positives(header, out, e);
    case PR_COUNT:
        return repack_count(header, out, e);
    case PR_COUNTS:
        return repack_counts(header, out, e);
    case PR_SCORES:
        return repack_scores(header, out, e);
    case PR_MEASURED:
        return repack_measured(header, out, e);
    case PR_JOIN:
        return repack_join(header, out, e);
    case PR_GIVERS:
        return repack_givers(header, out, e);
    case PR_PLACE:
        return repack_place(header, out, e);
    case PR_HOLDS:
        return repack_holds(header, out, e);
    case PR_READ:
        return repack_read(header, out, e);
    case PR_BLOCK:
        return repack_block(header, out, e);
    case PR_DRAIN:
        return repack_drain(header, out, e);
    case PR_REPLICAS:
        return repack_replicas(header, out, e);
    case PR_PLACED:
        return repack_placed(header, out, e);
    case PR_REHELLO:
    case PR_LEAVING:
    case PR_DISMISS:
    case PR_CANCEL:
    case PR_STATUS_REQUEST:
        break;
    }
    return repack_control(type, header, out, e);
}

#endif
