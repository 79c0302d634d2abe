/* store.c: a planted fault, see tests/tidy/run. */
#include "common/io/file.h"
#include "proto/file/shard_format.h"

#include <unistd.h>
