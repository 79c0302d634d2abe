#include <criterion/criterion.h>

Test(good, name)
{
}
