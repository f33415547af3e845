#include <textpoke.h>

TEXTPOKE_KEY_DECLARE_FALSE(distant);
TEXTPOKE_KEYS_DECLARE_TRUE(distants, 3);

int distant_seen(void);
int distant_seen(void)
{
    return textpoke_unlikely(distant);
}

int distants_seen(void);
int distants_seen(void)
{
    return textpoke_likely_at(distants, 1) + 2 * textpoke_unlikely_at(distants, 2);
}
