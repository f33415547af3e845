/* The keys that the program, another object of it and a library that it loads share. */
#include <textpoke.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

TEXTPOKE_KEY_DECLARE_FALSE(was_false);
TEXTPOKE_KEY_DECLARE_TRUE(was_true);
TEXTPOKE_KEYS_DECLARE_FALSE(several, 3);
TEXTPOKE_IMM_DECLARE(small_number, uint16_t, 65535);
TEXTPOKE_IMM_DECLARE(large_number, int64_t, -5);

/* What an object's sites say: a bit for each of was_false and was_true, by unlikely and likely; several[2]. */
static inline unsigned seen(void)
{
    unsigned bits = 0;
    if (textpoke_unlikely(was_false))
        bits |= 1;
    if (textpoke_likely(was_false))
        bits |= 2;
    if (textpoke_unlikely(was_true))
        bits |= 4;
    if (textpoke_likely(was_true))
        bits |= 8;
    if (textpoke_unlikely_at(several, 2))
        bits |= 16;
    return bits;
}

/* What they should say. */
static inline unsigned expected(bool f, bool t, bool third)
{
    return (f ? 3u : 0u) | (t ? 12u : 0u) | (third ? 16u : 0u);
}

#define CHECK(what) check(what, #what, __FILE__, __LINE__)
static inline void check(bool good, const char *what, const char *file, int line)
{
    if (!good) {
        fprintf(stderr, "%s:%d: %s; last error: %s\n", file, line, what, textpoke_error_message());
        abort();
    }
}

unsigned other_seen(void);
int other_sum(int, long, const char *, double, int, int, int, int);
TEXTPOKE_CALL_DECLARE(sum, int(int, long, const char *, double, int, int, int, int));

#ifdef __cplusplus
}
#endif
