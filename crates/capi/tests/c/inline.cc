#include "inline.hpp"
#include <cstdio>
#include <cstdlib>

TEXTPOKE_KEY_DEFINE_FALSE(app::traced);
TEXTPOKE_KEY_DEFINE_TRUE(app::Parts::checked);
namespace app {
TEXTPOKE_IMM_DEFINE(level, unsigned char, 7);
}
static TEXTPOKE_KEYS_DEFINE_TRUE(flags, 4);

extern "C" int plus(int a, int b) { return a + b; }
static int times(int a, int b) { return a * b; }
TEXTPOKE_CALL_DEFINE(combine, int(int, int), plus);

#define CHECK(what) ((what) ? void() : (std::printf("%d: %s: %s\n", __LINE__, #what, textpoke_error_message()), std::abort()))

int main()
{
    using namespace app;
    CHECK(in_line(3) == 3 && generic(3) == 10 && generic(3L) == 10 && elsewhere(3) == 13 && !by_parameter<traced>());
    CHECK(textpoke_key_enable(&traced) == 0 && textpoke_key_disable(&Parts::checked) == 0);
    CHECK(in_line(3) == -3 && generic(3) == 3 && generic(3L) == 3 && elsewhere(3) == 0 && by_parameter<traced>());
    CHECK(textpoke_key_enable(&Parts::checked) == 0 && textpoke_imm_set(&level, 100) == 0);
    CHECK(generic(3) == 103 && elsewhere(3) == 100);
    CHECK(textpoke_likely_at(flags, 3) && textpoke_key_disable(&flags[3]) == 0 && !textpoke_unlikely_at(flags, 3));
    auto lambda = [](int n) { return textpoke_unlikely_at(flags, 2) ? n : 0; };
    CHECK(lambda(4) == 4 && textpoke_key_disable(&flags[2]) == 0 && lambda(4) == 0);
    static TEXTPOKE_KEY_DEFINE_FALSE(local);
    CHECK(!textpoke_unlikely(local) && textpoke_key_inc(&local) == 0 && textpoke_unlikely(local));
    CHECK(textpoke_call(combine)(3, 4) == 7 && textpoke_call_set(combine, times) == 0 && textpoke_call(combine)(3, 4) == 12);
    CHECK(textpoke_call_set(combine, nullptr) == 0 && textpoke_call(combine)(3, 4) == 0);
    std::puts("good");
}
