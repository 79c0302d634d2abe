/* names.c: see names.h. */
#include "proto/file/names.h"

#include "common/assert.h"

#include <stdbool.h>
#include <string.h>

enum { DIGITS_MAX = 18 }; /* they fit int64, whatever they are */

/* --- pieces: each moves *at behind what it took, or leaves it and is false ----------------------
 */

static bool take(const char **at, const char *word)
{
    size_t size = strlen(word);
    if (strncmp(*at, word, size) != 0)
        return false;
    *at += size;
    return true;
}

/* All digits that stand there, `least` to `most` of them. */
static bool take_number(const char **at, size_t least, size_t most, int64_t *out)
{
    size_t digits = strspn(*at, "0123456789");
    int64_t value = 0;
    if (digits < least || digits > most)
        return false;
    for (size_t i = 0; i < digits; i++)
        value = value * 10 + ((*at)[i] - '0');
    *out = value;
    *at += digits;
    return true;
}

static bool take_camera(const char **at, size_t least, size_t most, int32_t *out)
{
    int64_t camera;
    if (!take_number(at, least, most, &camera))
        return false;
    *out = (int32_t)camera;
    return true;
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* --- the sets -----------------------------------------------------------------------------------
 */

static bool read_cuhk03_np(const char **at, struct pr_name *out)
{
    if (take(at, "-1"))
        out->pid = -1;
    else if (!take_number(at, 1, DIGITS_MAX, &out->pid))
        return false;
    return take(at, "_c") && take_camera(at, 1, 1, &out->camid);
}

static bool read_market1501(const char **at, struct pr_name *out)
{
    int64_t sequence, frame;
    if (!read_cuhk03_np(at, out))
        return false;
    if (take(at, "s") && take_number(at, 1, DIGITS_MAX, &sequence) && take(at, "_") &&
        take_number(at, 1, DIGITS_MAX, &frame))
        out->timestamp = frame;
    return true;
}

static bool read_veri(const char **at, struct pr_name *out)
{
    int64_t frame;
    if (!take_number(at, 1, DIGITS_MAX, &out->pid) || !take(at, "_c") ||
        !take_camera(at, 3, 3, &out->camid))
        return false;
    if (take(at, "_") && take_number(at, 1, DIGITS_MAX, &frame))
        out->timestamp = frame;
    return true;
}

/* "path pid": that pid counts, and is cut off. */
static void take_listed_pid(const char *text, struct pr_name *out)
{
    int64_t pid;
    const char *blank = strrchr(text, ' '), *at = blank ? blank + 1 : "";
    if (!take_number(&at, 1, DIGITS_MAX, &pid) || *at)
        return;
    while (blank > text && blank[-1] == ' ')
        blank--;
    out->bytes = (size_t)(blank - text);
    out->pid = pid;
}

static bool read_msmt17(const char **at, struct pr_name *out)
{
    int64_t number;
    return take_number(at, 1, DIGITS_MAX, &out->pid) && take(at, "_") &&
           take_number(at, 1, DIGITS_MAX, &number) && take(at, "_") &&
           take_camera(at, 1, 9, &out->camid) && take(at, "_");
}

struct scheme {
    const char *word, *pattern, *example;
    bool (*read)(const char **at, struct pr_name *out);
};

static const struct scheme schemes[] = {
    [PR_NAMES_MARKET1501] = {"market1501", "PID_cCAMERAsSEQUENCE_FRAME with one digit of CAMERA",
                             "0001_c1s1_000151_01.jpg", read_market1501},
    [PR_NAMES_MSMT17] = {"msmt17", "PID_NUMBER_CAMERA_ and more",
                         "0000/0000_000_01_0303morning_0015_0.jpg", read_msmt17},
    [PR_NAMES_VERI] = {"veri", "PID_cCAMERA_FRAME with three digits of CAMERA",
                       "0001_c001_00016450_0.jpg", read_veri},
    [PR_NAMES_CUHK03_NP] = {"cuhk03-np", "PID_cCAMERA with one digit of CAMERA", "0001_c1_1.png",
                            read_cuhk03_np},
};

#define SCHEMES (sizeof schemes / sizeof *schemes)

enum cm_err pr_names_choose(enum pr_names *out, const char *word, struct cm_error *e)
{
    *out = PR_NAMES_CSV;
    for (size_t i = PR_NAMES_CSV + 1; word && i < SCHEMES; i++)
        if (strcmp(schemes[i].word, word) == 0)
            *out = (enum pr_names)i;
    if (!word || *out)
        return CM_OK;
    return cm_fail(e, CM_EUSAGE,
                   "--names is '%s'; there are market1501, msmt17, veri and cuhk03-np", word);
}

enum cm_err pr_name_read(enum pr_names scheme, const char *text, struct pr_name *out,
                         struct cm_error *e)
{
    CM_ASSERT(scheme != PR_NAMES_CSV && (size_t)scheme < SCHEMES);
    const struct scheme *s = &schemes[scheme];
    const char *at = last_component(text);
    *out = (struct pr_name){.bytes = strlen(text)};
    bool fits = s->read(&at, out);
    if (scheme == PR_NAMES_MSMT17) {
        take_listed_pid(text, out);
        out->pid++;
    }
    if (fits)
        return CM_OK;
    *out = (struct pr_name){0};
    return cm_fail(e, CM_EFORMAT, "name \"%.100s\" is not as %s has them: %s, as in %s", text,
                   s->word, s->pattern, s->example);
}
