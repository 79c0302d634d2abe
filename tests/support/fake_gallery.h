/* fake_gallery.h: a gallery without features: sizes, maps and scores that tests can work out.
 * Needs no Criterion. */
#ifndef TEST_FAKE_GALLERY_H
#define TEST_FAKE_GALLERY_H

#include "common/blob.h"
#include "common/types.h"
#include "proto/wire/gallery_info.h"
#include "proto/wire/hello.h"
#include "proto/wire/hits.h"
#include "proto/wire/positives.h"

#include <stddef.h>
#include <stdint.h>

/* The gallery of the tests, unless they say otherwise. Its maps are 2 x 1 x 2. */
enum { FAKE_SHARDS = 4, FAKE_SHARD_IMAGES = 10, FAKE_MAP_FLOATS = 4 };

/* `shards` shards of `shard_images` images each. */
struct pr_gallery_info fake_gallery(uint32_t shards, uint64_t shard_images);

/* A worker's HELLO that holds `count` shards of `g` from `first` on, all of one size. `held` has
 * room for them and must outlive *hello. */
void fake_hello(struct pr_hello *hello, struct pr_held_shard *held, const char *node,
                const struct pr_gallery_info *g, uint32_t first, uint32_t count);

/* The map of query number `query`: its first float says which. The caller drops the reference. */
struct cm_blob *fake_map(uint64_t query);

/* The score of a pair: any two parties agree, some pairs tie, a few overflow. */
float fake_score(uint64_t query, uint64_t image);

/* The labels of an image: pid image / 3, camid image % 5, a name such as "image-7" in `name`. */
enum { FAKE_NAME_BYTES = 32 };
struct cm_image_meta fake_meta(uint64_t image, char name[FAKE_NAME_BYTES]);

/* The truth about one evaluation, counted pair by pair: of the images first .. first + count - 1,
 * the census and the positives, best first (their number is returned; `out` has room for all); and
 * how all `images` of the gallery count against one positive. */
size_t fake_positives(uint64_t query, int64_t pid, int32_t camid, uint64_t first, uint64_t count,
                      struct pr_census *census, struct cm_hit *out);
struct pr_counts fake_counts(uint64_t query, int64_t pid, int32_t camid, uint64_t first,
                             uint64_t count, const struct cm_hit *positive);

/* The best min(k, images) of the images for which covered[image] is not 0, in `out`; how many. */
size_t fake_ranking(uint64_t query, const unsigned char *covered, uint64_t images, size_t k,
                    struct cm_hit *out);

#endif
