#include <textpoke.h>

TEXTPOKE_KEY_DEFINE_FALSE(distant);
