/* thumbnails.c: see thumbnails.h. */
#include "ops/cli/thumbnails.h"

#include "common/io/file.h"
#include "ops/cli/html.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* --- files --------------------------------------------------------------------------------------
 */

/* The media type by the first bytes; NULL: no image that every browser shows. */
static const char *media_type(const unsigned char *data, size_t size)
{
    static const struct {
        const char *begin;
        size_t size;
        const char *type;
    } known[] = {
        {"\xff\xd8\xff", 3, "image/jpeg"},
        {"\x89PNG\r\n\x1a\n", 8, "image/png"},
        {"GIF87a", 6, "image/gif"},
        {"GIF89a", 6, "image/gif"},
        {"BM", 2, "image/bmp"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (size >= known[i].size && memcmp(data, known[i].begin, known[i].size) == 0)
            return known[i].type;
    bool webp = size >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0;
    return webp ? "image/webp" : NULL;
}

/* Does a path lead out of the folder that it begins in? Links do as whoever made them wants. */
static bool leads_out(const char *path)
{
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || !p[2]))
            return true;
    }
    return false;
}

/* The file's path without links; NULL if there is none in the folder. */
static char *find(const struct cli_thumbnails *t, const char *name)
{
    char *joined, *path;
    if (leads_out(name) || asprintf(&joined, "%s/%s", t->images, name) < 0)
        return NULL;
    path = realpath(joined, NULL);
    free(joined);
    return path;
}

/* Prints the way from the page's folder to `path`, which both begin with '/'. */
static void put_relative(const char *page, const char *path, FILE *out)
{
    size_t common = 0;
    for (size_t i = 0; page[i] == path[i] || (!page[i] && path[i] == '/'); i++) {
        if (path[i] == '/')
            common = i;
        if (!page[i])
            break;
    }
    for (const char *p = page + common; *p; p++)
        if (*p == '/' && p[1])
            fputs("../", out);
    cli_html_url(path + common + 1, out);
}

/* --- what is printed ----------------------------------------------------------------------------
 */

static void put_box(const char *name, FILE *out)
{
    const char *slash = strrchr(name, '/');
    cli_html_text(slash && slash[1] ? slash + 1 : name, out);
}

static void put_link(const struct cli_thumbnails *t, const char *path, const char *name, FILE *out)
{
    fputs("<a class=\"box\" href=\"", out);
    put_relative(t->page, path, out);
    fputs("\"><bdi>", out);
    put_box(name, out);
    fputs("</bdi></a>", out);
}

static void put_image(const char *type, const unsigned char *data, size_t size, FILE *out)
{
    fprintf(out, "<img alt=\"\" src=\"data:%s;base64,", type);
    cli_html_base64(data, size, out);
    fputs("\">", out);
}

/* Embeds or links the file; false if it is no image. */
static bool put_file(struct cli_thumbnails *t, const char *path, const char *name, FILE *out)
{
    uint64_t left = CLI_THUMBNAILS_BYTES_MAX - t->bytes;
    size_t size, most = left < CLI_THUMBNAIL_BYTES_MAX ? (size_t)left : CLI_THUMBNAIL_BYTES_MAX;
    void *data;
    struct cm_error e;
    enum cm_err rc = io_read_file(path, most, &data, &size, &e);
    const char *type = rc ? NULL : media_type(data, size);
    if (rc == CM_ELIMIT) {
        put_link(t, path, name, out);
        t->counts.linked++;
    }
    if (type) {
        put_image(type, data, size, out);
        t->counts.embedded++;
        t->bytes += size;
    }
    free(data);
    return type || rc == CM_ELIMIT;
}

void cli_thumbnail_put(struct cli_thumbnails *t, const char *name, FILE *out)
{
    char *path = t->images ? find(t, name) : NULL;
    bool shown = path && put_file(t, path, name, out);
    free(path);
    if (shown)
        return;
    t->counts.missing += t->images != NULL;
    fputs("<span class=\"box\"><bdi>", out);
    put_box(name, out);
    fputs("</bdi></span>", out);
}

enum cm_err cli_thumbnails_open(struct cli_thumbnails *t, const char *images, const char *page,
                                struct cm_error *e)
{
    *t = (struct cli_thumbnails){0};
    t->page = realpath(page, NULL);
    if (!t->page)
        return cm_fail_errno(e, errno, "%s", page);
    if (!images)
        return CM_OK;
    t->images = realpath(images, NULL);
    return t->images ? CM_OK : cm_fail_errno(e, errno, "%s", images);
}

void cli_thumbnails_close(struct cli_thumbnails *t)
{
    free(t->images);
    free(t->page);
    *t = (struct cli_thumbnails){0};
}
