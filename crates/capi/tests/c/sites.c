#include <textpoke.h>

TEXTPOKE_KEY_DECLARE_FALSE(distant);

int distant_seen(void);
int distant_seen(void)
{
    return textpoke_unlikely(distant);
}
