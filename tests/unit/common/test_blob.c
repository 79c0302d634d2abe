/* Shared bytes: one release, whoever is last. */
#include "common/blob.h"
#include "common/mem.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

static void count_release(void *owner)
{
    ++*(int *)owner;
}

Test(blob, is_released_once_by_the_last_reference)
{
    static const char bytes[] = "map";
    int released = 0;
    struct cm_blob *a, *b, *c;
    cr_assert_eq(cm_blob_new(&a, bytes, sizeof bytes, count_release, &released, NULL), CM_OK);
    b = cm_blob_ref(a);
    c = cm_blob_ref(b);
    cr_assert(b == a && cm_blob_data(b) == bytes && cm_blob_size(c) == sizeof bytes);
    cm_blob_unref(&a);
    cr_assert_null(a);
    cm_blob_unref(&c);
    cr_assert_eq(released, 0);
    cm_blob_unref(&a);
    cr_assert_eq(released, 0, "an empty hand drops nothing");
    cm_blob_unref(&b);
    cr_assert_eq(released, 1);
}

Test(blob, needs_nobody_to_release_it)
{
    struct cm_blob *b;
    cr_assert_eq(cm_blob_new(&b, "x", 1, NULL, NULL, NULL), CM_OK);
    cm_blob_unref(&b);
    cr_assert_null(b);
}

Test(blob, a_copy_does_not_see_later_changes)
{
    char bytes[] = "before";
    struct cm_blob *b;
    cr_assert_eq(cm_blob_copy(&b, bytes, sizeof bytes, NULL), CM_OK);
    memset(bytes, 'x', sizeof bytes);
    cr_assert_eq(cm_blob_size(b), sizeof bytes);
    cr_assert_str_eq(cm_blob_data(b), "before");
    cr_assert_eq((uintptr_t)cm_blob_data(b) % CM_ALIGN, 0);
    cm_blob_unref(&b);
    cr_assert_eq(cm_blob_copy(&b, NULL, 0, NULL), CM_OK);
    cr_assert_eq(cm_blob_size(b), 0);
    cm_blob_unref(&b);
}

static void *ref_and_unref(void *blob)
{
    for (int i = 0; i < 20000; i++) {
        struct cm_blob *mine = cm_blob_ref(blob);
        cm_blob_unref(&mine);
    }
    struct cm_blob *last = blob;
    cm_blob_unref(&last);
    return NULL;
}

Test(blob, references_may_be_dropped_on_any_thread)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    int released = 0;
    struct cm_blob *b;
    cr_assert_eq(cm_blob_new(&b, "x", 1, count_release, &released, NULL), CM_OK);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, ref_and_unref, cm_blob_ref(b)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(released, 0);
    cm_blob_unref(&b);
    cr_assert_eq(released, 1);
}
