/* names.h: who is on an image, and which camera took it, read off its file name: the sets of
 * re-identification have their labels there. Pure; any thread.
 *
 * Of a path only the last component counts, and it must fit from its beginning on; what follows the
 * part described here is not looked at. Cameras count from 1, as in the names.
 *
 *     market1501  0001_c1s1_000151_01.jpg: pid (-1: junk, 0000: distractor), camera (one digit),
 *                 sequence, frame. Sequence and frame may be missing; the frame is the timestamp.
 *     msmt17      0000/0000_000_01_0303morning_0015_0.jpg: pid, number, camera. The set's lists,
 *                 list_query.txt and so on, have the pid behind the path; that one counts then.
 *                 Pids count from 0 there, and pid 0 is a distractor here: ours are one higher.
 *     veri        0001_c001_00016450_0.jpg: pid, camera (three digits), frame, which may be missing
 *                 and is the timestamp.
 *     cuhk03-np   0001_c1_1.png: pid, camera (one digit). */
#ifndef PR_NAMES_H
#define PR_NAMES_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

/* A way to name images. */
enum pr_names {
    PR_NAMES_CSV, /* none: pid and camid are columns of their own */
    PR_NAMES_MARKET1501,
    PR_NAMES_MSMT17,
    PR_NAMES_VERI,
    PR_NAMES_CUHK03_NP,
};

/* What a text says. */
struct pr_name {
    size_t bytes; /* at its beginning that are the name: all, unless a pid follows (msmt17) */
    int64_t pid;
    int64_t timestamp; /* 0 where the name has none */
    int32_t camid;
};

/* The way of this name ("market1501"), as --names has it; PR_NAMES_CSV for NULL.
 * Errors: CM_EUSAGE, with the names that there are. */
enum cm_err pr_names_choose(enum pr_names *out, const char *word, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Reads one text. `scheme` is not PR_NAMES_CSV. Errors: CM_EFORMAT, with the text, the pattern and
 * an example; *out is zero then. */
enum cm_err pr_name_read(enum pr_names scheme, const char *text, struct pr_name *out,
                         struct cm_error *e) __attribute__((warn_unused_result));

#endif
