#include <textpoke.h>

TEXTPOKE_KEY_DEFINE_FALSE(distant);
TEXTPOKE_KEYS_DEFINE_TRUE(distants, 3);
