/* folder.h: the folder that a worker serves from: a gallery as it was imported, or a *store* of the
 * worker's own.
 *
 * A store holds "store.json", which says that its shards were fetched from other workers and may be
 * removed again. A gallery made by an import has none: nothing in it is ever removed or added. One
 * process at a time owns a store, by a lock on the folder that ends with the process; of a gallery
 * any number may serve. A file on its way into a store is called "<name>.part" until it is whole,
 * and what has its own name is whole. The manifest comes last: a store without one has not joined
 * yet. One thread; every call may block. */
#ifndef ST_FOLDER_H
#define ST_FOLDER_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

#define ST_STORE_FILE "store.json"
#define ST_PART       ".part"

/* An open folder. Caller's storage. */
struct st_folder {
    char *dir;
    int fd;      /* of a store: holds the lock */
    bool own;    /* it is a store */
    bool joined; /* it has a manifest */
};

/* Looks at `dir`. One that is not there, is empty but for lost+found, or was claimed and not
 * finished becomes a store, locked and marked; a store is locked. Release with st_folder_close,
 * also after a failure. Errors: CM_ENOENT (there are other things in it, and no gallery), CM_EBUSY
 * (another process owns the store), CM_EEXIST (no folder), CM_EIO, CM_ENOSPC, CM_ENOMEM. */
enum cm_err st_folder_open(struct st_folder *f, const char *dir, struct cm_error *e)
    __attribute__((warn_unused_result));
/* Frees the path, lets go of the folder. Twice is fine. */
void st_folder_close(struct st_folder *f);

/* Gives "<file>.part" of the store its name, for good: both were synced when it returns. Replaces
 * what has the name. Errors: CM_EIO, CM_ENOSPC, CM_ENOMEM, CM_ENOENT. */
enum cm_err st_publish(const char *dir, const char *file, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Removes "<dir>/<file>"; CM_OK if it is not there. Errors: CM_EIO, CM_ENOMEM. */
enum cm_err st_remove(const char *dir, const char *file, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Removes all shards on their way but `keep` (its "shard-00012.vts"; NULL: all), as far as it can.
 */
void st_remove_parts(const char *dir, const char *keep);

#endif
