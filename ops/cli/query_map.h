/* query_map.h: a query's feature map on its way from a file to the wire. Main thread only. */
#ifndef CLI_QUERY_MAP_H
#define CLI_QUERY_MAP_H

#include "common/blob.h"
#include "common/err.h"
#include "proto/file/npy.h"

#include <stdint.h>

/* The map of query `index` as it stands in the file, in *out (the caller's reference), and its
 * CRC-32C. Errors: those of pr_npy_read_raw; CM_ENOMEM. */
enum cm_err cli_query_map(const struct pr_npy *n, uint64_t index, struct cm_blob **out,
                          uint32_t *crc32c, struct cm_error *e) __attribute__((warn_unused_result));

#endif
