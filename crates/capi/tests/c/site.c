/* What the compiler makes of a branch, and what the linker drops. */
#include <textpoke.h>

TEXTPOKE_KEY_DEFINE_FALSE(off);
static TEXTPOKE_IMM_DEFINE(limit, unsigned, 1234);
TEXTPOKE_CALL_DEFINE_NULL(hook, void(int));

int rarely(int);
__attribute__((noinline)) int branch(int n);
int branch(int n)
{
    if (textpoke_unlikely(off))
        return rarely(n);
    return n + 1;
}

__attribute__((noinline)) unsigned number(void);
unsigned number(void)
{
    return textpoke_imm(limit);
}

__attribute__((noinline)) void call(int n);
void call(int n)
{
    textpoke_call(hook)(n);
}

int dropped(int n);
int dropped(int n)
{
    return textpoke_likely(off) ? rarely(n) : 0;
}

__attribute__((noinline)) int rarely(int n)
{
    return n * 3;
}

int main(void)
{
    call(1);
    return branch(1) == 2 && number() == 1234 && textpoke_key_enable(&off) == 0 && branch(1) == 3 ? 0 : 1;
}
