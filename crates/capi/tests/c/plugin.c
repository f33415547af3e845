/* A library that is loaded by matrix.c, and uses its keys and one of its own. */
#include "keys.h"

TEXTPOKE_KEY_DEFINE_FALSE(plugin_own);
static unsigned at_load;

unsigned plugin_seen(void);
unsigned plugin_at_load(void);
int plugin_own_seen(void);
int plugin_sum(void);

unsigned plugin_seen(void)
{
    return seen();
}

unsigned plugin_at_load(void)
{
    return at_load;
}

int plugin_own_seen(void)
{
    int unlikely = textpoke_unlikely(plugin_own), likely = textpoke_likely(plugin_own);
    return unlikely == likely ? unlikely : -1;
}

/* Far from the program: the function is out of reach. */
int plugin_sum(void)
{
    return textpoke_call(sum)(1, 2, "abc", 4.5, 5, 6, 7, 8);
}

__attribute__((constructor)) static void come(void)
{
    at_load = seen();
    CHECK(textpoke_key_enable(&plugin_own) == 0 && plugin_own_seen() == 1);
}
