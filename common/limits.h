/* limits.h: every bound in one place, with its reason, and the relations among them proved. */
#ifndef CM_LIMITS_H
#define CM_LIMITS_H

#include <assert.h>
#include <stdint.h>

/* The model. Ten times the paper's sizes in every direction; they keep every product of sizes that
 * an importer or worker computes far inside 64 bits, and a hostile header far from an allocation.
 */
#define CM_SIDE_MAX     512u  /* height and width of a feature map, in tokens */
#define CM_TOKENS_MAX   4096u /* height * width; a T x T mask is then 64 MiB */
#define CM_CHANNELS_MAX 8192u /* d, channels of one layer */
#define CM_LAYERS_MAX   64u
#define CM_FF_MAX       65536u
/* One query's map on the wire: 4 x the paper's in float32, rounded up. Bounds ZMQ_MAXMSGSIZE. */
#define CM_MAP_BYTES_MAX (16u << 20)

/* The gallery. */
#define CM_IMAGES_MAX       (UINT64_C(1) << 40)
#define CM_SHARDS_MAX       65536u
#define CM_SHARD_BYTES_GOAL UINT64_C(250000000) /* import's default: loads and moves in seconds */
#define CM_SHARD_BYTES_MAX  (UINT64_C(1) << 50) /* so that no sum of sizes in a shard can wrap */
#define CM_SHARDS_GOAL      16u /* so that a small gallery still spreads over workers */
#define CM_BLOCK_BYTES_GOAL (UINT64_C(8) << 20)
#define CM_BLOCK_IMAGES_MIN 32u /* the matcher's head wants that many pairs at a time */
#define CM_BLOCK_IMAGES_MAX 256u
#define CM_NAME_BYTES_MAX   4096u /* an image's name: a path (PATH_MAX) */

/* Files from outside. A safetensors header: the reference's own limit is 100 MB, but a model of 64
 * layers has 160 kB, and the JSON parser can take about 80 times the header's size in memory. */
#define CM_SAFETENSORS_HEADER_MAX (1u << 20)
#define CM_SAFETENSORS_BYTES_MAX  (UINT64_C(4) << 30) /* the paper's model has 6 MB */
#define CM_NPY_HEADER_MAX         (64u << 10)
#define CM_CSV_ROW_BYTES_MAX      (64u << 10) /* a name with every byte quoted, and other columns */
#define CM_MANIFEST_BYTES_MAX     (64u << 20)

/* The wire. */
#define CM_FRAMES_MAX         4u         /* header, payload, and room; more is garbage */
#define CM_HEADER_BYTES_MAX   (4u << 20) /* frame 0; a top-k of 10,000 with names is 1 MiB */
#define CM_NODE_BYTES_MAX     64u
#define CM_CLASS_BYTES_MAX    96u
#define CM_TEXT_BYTES_MAX     640u
#define CM_K_MAX              10000u
#define CM_POSITIVES_MAX      65536u     /* right images of one query; MEASURED is 2.8 MB then */
#define CM_SCORES_MAX         (1u << 20) /* scores in one SCORES message: 4 MiB */
#define CM_DEADLINE_MS_MAX    (24u * 3600u * 1000u)
#define CM_MEMBERS_MAX        1024u
#define CM_QUERIES_QUEUED     256u /* admitted and waiting; one more is refused as busy */
#define CM_QUEUED_BYTES_MAX   (UINT64_C(512) << 20) /* and this much of maps; likewise */
#define CM_QUERIES_INFLIGHT   64u                /* dispatched; 64 x 16 MiB of maps at the most */
#define CM_WORKER_CREDITS     16u                /* searches one worker takes at a time */
#define CM_RESULT_EVERY_NS    UINT64_C(50000000) /* n of it before the n-th RESULT of a search */
#define CM_ENDPOINT_BYTES_MAX 256u               /* "ipc://" and the longest path of a socket */
#define CM_SOURCES_MAX        8u                 /* workers named to fetch a shard from */
#define CM_TRANSFER_BYTES_MAX (1u << 20)         /* of a file in one BLOCK */
#define CM_REPLICAS_MAX       16u
#define CM_BATCH_QUERIES_MAX  8u /* queries scored in one pass over a block */

static_assert(CM_TOKENS_MAX <= CM_SIDE_MAX * CM_SIDE_MAX, "some maps reach the token limit");
static_assert(CM_BLOCK_IMAGES_MIN <= CM_BLOCK_IMAGES_MAX, "a block has a size");
static_assert(2 * CM_NAME_BYTES_MAX < CM_CSV_ROW_BYTES_MAX, "every name allowed fits a row");
static_assert(CM_QUEUED_BYTES_MAX >= CM_MAP_BYTES_MAX, "a query can wait");
static_assert(CM_WORKER_CREDITS <= CM_QUERIES_INFLIGHT, "one worker can use all its credits");
static_assert((uint64_t)CM_QUERIES_INFLIGHT * CM_MAP_BYTES_MAX <= (UINT64_C(1) << 30),
              "dispatched maps stay under 1 GiB in the coordinator");

#endif
