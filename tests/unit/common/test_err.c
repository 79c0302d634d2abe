/* Failures and their one line of text. */
#include "common/err.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

Test(err, every_code_has_a_text_of_its_own)
{
    for (int a = CM_OK; a <= CM_EREFUSED; a++) {
        cr_assert_str_neq(cm_err_text((enum cm_err)a), "unknown error");
        for (int b = CM_OK; b < a; b++)
            cr_assert_str_neq(cm_err_text((enum cm_err)a), cm_err_text((enum cm_err)b));
    }
    cr_assert_str_eq(cm_err_text(CM_ENOENT), "not found");
    cr_assert_str_eq(cm_err_text((enum cm_err)999), "unknown error");
}

Test(err, fail_fills_code_and_text)
{
    struct cm_error e;
    cr_assert_eq(cm_fail(&e, CM_EFORMAT, "%s: %d rows", "a.csv", 3), CM_EFORMAT);
    cr_assert_eq(e.code, CM_EFORMAT);
    cr_assert_str_eq(e.text, "a.csv: 3 rows");
    cr_assert_eq(cm_fail(NULL, CM_ELIMIT, "nobody reads this"), CM_ELIMIT);
}

Test(err, wrap_puts_the_context_in_front)
{
    struct cm_error e;
    cm_fail(&e, CM_EFORMAT, "row 7: no pid");
    cr_assert_eq(cm_wrap(&e, CM_ECORRUPT, "%s", "a.csv"), CM_ECORRUPT);
    cr_assert_eq(e.code, CM_ECORRUPT);
    cr_assert_str_eq(e.text, "a.csv: row 7: no pid");
    cr_assert_eq(cm_wrap(&e, CM_EFORMAT, "import"), CM_EFORMAT);
    cr_assert_str_eq(e.text, "import: a.csv: row 7: no pid");
    cr_assert_eq(cm_wrap(NULL, CM_EIO, "nobody reads this"), CM_EIO);
}

Test(err, text_is_cut_at_the_end_of_the_buffer)
{
    char *longer = malloc(2 * CM_ERROR_TEXT_BYTES);
    memset(longer, 'x', 2 * CM_ERROR_TEXT_BYTES);
    longer[2 * CM_ERROR_TEXT_BYTES - 1] = '\0';
    struct cm_error e;
    cm_fail(&e, CM_EIO, "%s", longer);
    cr_assert_eq(strlen(e.text), CM_ERROR_TEXT_BYTES - 1);
    cm_wrap(&e, CM_EIO, "front");
    cr_assert_eq(strlen(e.text), CM_ERROR_TEXT_BYTES - 1);
    cr_assert(strncmp(e.text, "front: xxx", 10) == 0, "%s", e.text);
    cm_wrap(&e, CM_EIO, "%s", longer);
    cr_assert_eq(strlen(e.text), CM_ERROR_TEXT_BYTES - 1);
    cr_assert_eq(strspn(e.text, "x"), CM_ERROR_TEXT_BYTES - 1);
    cm_fail_errno(&e, ENOENT, "%s", longer);
    cr_assert_eq(strlen(e.text), CM_ERROR_TEXT_BYTES - 1);
    /* One byte is left: the reason does not fit, nothing breaks. */
    longer[CM_ERROR_TEXT_BYTES - 2] = '\0';
    cm_fail_errno(&e, ENOENT, "%s", longer);
    cr_assert_eq(strlen(e.text), CM_ERROR_TEXT_BYTES - 1);
    free(longer);
}

Test(err, control_characters_become_question_marks)
{
    struct cm_error e;
    cm_fail(&e, CM_EFORMAT, "name 'a\nb\x1b[31m\t.\x7f'");
    cr_assert_str_eq(e.text, "name 'a?b?[31m?.?'");
    cm_wrap(&e, CM_EFORMAT, "in\rfile");
    cr_assert_str_eq(e.text, "in?file: name 'a?b?[31m?.?'");
    cm_fail_errno(&e, EACCES, "a\nb");
    cr_assert_str_eq(e.text, "a?b: Permission denied");
    cm_fail(&e, CM_EFORMAT, "\xc3\xa9 stays");
    cr_assert_str_eq(e.text, "\xc3\xa9 stays");
}

Test(err, errno_picks_the_code)
{
    static const struct {
        int errnum;
        enum cm_err code;
    } rows[] = {
        {ENOENT, CM_ENOENT}, {EEXIST, CM_EEXIST},      {ENOTEMPTY, CM_EEXIST}, {ENOMEM, CM_ENOMEM},
        {ENOSPC, CM_ENOSPC}, {EDQUOT, CM_ENOSPC},      {EFBIG, CM_ENOSPC},     {EACCES, CM_EIO},
        {EIO, CM_EIO},       {ETIMEDOUT, CM_ETIMEOUT}, {EISDIR, CM_EIO},
    };
    struct cm_error e;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert_eq(cm_fail_errno(&e, rows[i].errnum, "f"), rows[i].code, "errno %d",
                     rows[i].errnum);
        cr_assert_eq(e.code, rows[i].code);
        cr_assert_eq(cm_fail_errno(NULL, rows[i].errnum, "f"), rows[i].code);
    }
    cm_fail_errno(&e, ENOENT, "cannot open '%s'", "a.npy");
    cr_assert_str_eq(e.text, "cannot open 'a.npy': No such file or directory");
}
