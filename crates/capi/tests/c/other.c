/* Another object of the program. */
#include "keys.h"

unsigned other_seen(void)
{
    return seen();
}

int other_sum(int a, long b, const char *c, double d, int e, int f, int g, int h)
{
    return textpoke_call(sum)(a, b, c, d, e, f, g, h);
}
