/* An object of the Rust program: uses the keys that Rust defines, and defines one that Rust uses. */
#include <textpoke.h>

TEXTPOKE_KEY_DECLARE_FALSE(RUST_KEY);
TEXTPOKE_IMM_DECLARE(RUST_NUMBER, uint32_t, 100);
TEXTPOKE_CALL_DECLARE(RUST_CALL, uint32_t(uint32_t));
TEXTPOKE_KEY_DEFINE_TRUE(C_KEY);
TEXTPOKE_KEYS_DEFINE_FALSE(C_KEYS, 3);

int inside_sees(void);
int inside_sees(void)
{
    return textpoke_unlikely(RUST_KEY) + 2 * textpoke_likely(C_KEY);
}

uint32_t inside_number(void);
uint32_t inside_number(void)
{
    return textpoke_call(RUST_CALL)(textpoke_imm(RUST_NUMBER));
}

int inside_turns(int rust_key, int c_key);
int inside_turns(int rust_key, int c_key)
{
    textpoke_change changes[] = {
        TEXTPOKE_CHANGE(&RUST_KEY, rust_key ? TEXTPOKE_ENABLE : TEXTPOKE_DISABLE),
        TEXTPOKE_CHANGE(&C_KEY, c_key ? TEXTPOKE_ENABLE : TEXTPOKE_DISABLE),
    };
    return textpoke_apply(changes, 2);
}
