/* A library with its own copy of textpoke, loaded by the Rust program whose keys it uses. */
#include <textpoke.h>

TEXTPOKE_KEY_DECLARE_FALSE(RUST_KEY);
TEXTPOKE_KEY_DECLARE_TRUE(C_KEY);

int library_sees(void);
int library_sees(void)
{
    return textpoke_unlikely(RUST_KEY) + 2 * textpoke_likely(C_KEY);
}

int library_turns(int on);
int library_turns(int on)
{
    return on ? textpoke_key_enable(&RUST_KEY) : textpoke_key_disable(&RUST_KEY);
}
