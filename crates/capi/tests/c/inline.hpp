// Functions that several objects have, of which the linker keeps one.
#include <textpoke.h>

namespace app {
TEXTPOKE_KEY_DECLARE_FALSE(traced);
struct Parts {
    static textpoke_key_true checked;
};
extern textpoke_detail::imm<unsigned char, 7> level;

inline int in_line(int n)
{
    if (textpoke_unlikely(traced))
        return -n;
    return n;
}

template <class T> T generic(T n)
{
    return textpoke_likely(Parts::checked) ? n + textpoke_imm(level) : n;
}

template <auto &Key> bool by_parameter() { return textpoke_unlikely(Key); }
} // namespace app

int elsewhere(int n);
