/* Keys, calls and numbers in this object, in other.c and in the library plugin.c, which is named on the command line:
 * changed before it is loaded, while it comes and goes, and afterwards. */
#include "keys.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TEXTPOKE_KEY_DEFINE_FALSE(was_false);
TEXTPOKE_KEY_DEFINE_TRUE(was_true);
TEXTPOKE_KEYS_DEFINE_FALSE(several, 3);
TEXTPOKE_IMM_DEFINE(small_number, uint16_t, 65535);
TEXTPOKE_IMM_DEFINE(large_number, int64_t, -5);
static TEXTPOKE_KEY_DEFINE_FALSE(counted);

/* More arguments than registers, and floating point. */
static int add(int a, long b, const char *c, double d, int e, int f, int g, int h)
{
    return a + (int)b + (int)strlen(c) + (int)d + e + f + g + h;
}
static int count(int a, long b, const char *c, double d, int e, int f, int g, int h)
{
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    return 8;
}
TEXTPOKE_CALL_DEFINE(sum, int(int, long, const char *, double, int, int, int, int), add);
struct pair { long a, b; };
static struct pair swap(struct pair p) { return (struct pair){ p.b, p.a }; }
TEXTPOKE_CALL_DEFINE_NULL(swapped, struct pair(struct pair));
TEXTPOKE_CALL_DEFINE_NULL(real, double(double));
static double half(double x) { return x / 2; }

static void set(bool f, bool t, bool third)
{
    textpoke_change changes[] = {
        TEXTPOKE_CHANGE(&was_false, f ? TEXTPOKE_ENABLE : TEXTPOKE_DISABLE),
        TEXTPOKE_CHANGE(&was_true, t ? TEXTPOKE_ENABLE : TEXTPOKE_DISABLE),
        TEXTPOKE_CHANGE(&several[2], third ? TEXTPOKE_ENABLE : TEXTPOKE_DISABLE),
    };
    CHECK(textpoke_apply(changes, 3) == 0);
    CHECK(textpoke_key_is_enabled(&was_false) == f && textpoke_key_is_enabled(&was_true) == t);
    CHECK(seen() == expected(f, t, third) && other_seen() == expected(f, t, third));
}

static void counting(void)
{
    CHECK(textpoke_key_dec(&counted) == TEXTPOKE_E_NOT_COUNTED);
    CHECK(strstr(textpoke_error_message(), "inc") != NULL);
    CHECK(textpoke_key_inc(&counted) == 0 && textpoke_key_inc(&counted) == 0);
    CHECK(textpoke_unlikely(counted) && textpoke_key_count(&counted) == 2);
    CHECK(textpoke_key_disable(&counted) == TEXTPOKE_E_COUNTED);
    CHECK(textpoke_key_dec_later(&counted, 1000000) == 0 && textpoke_key_count(&counted) == 2);
    CHECK(textpoke_key_flush(&counted) == 0 && textpoke_key_count(&counted) == 1 && textpoke_likely(counted));
    CHECK(textpoke_key_dec(&counted) == 0 && !textpoke_likely(counted));
    CHECK(textpoke_key_enable((textpoke_key *)NULL) == TEXTPOKE_E_ARGUMENT);
}

static void calls(void)
{
    CHECK(textpoke_call(sum)(1, 2, "abc", 4.5, 5, 6, 7, 8) == 36);
    CHECK(textpoke_call_get(sum) == add && other_sum(1, 2, "abc", 4.5, 5, 6, 7, 8) == 36);
    CHECK(textpoke_call_set(sum, count) == 0 && textpoke_call_get(sum) == count);
    CHECK(textpoke_call(sum)(1, 2, "abc", 4.5, 5, 6, 7, 8) == 8 && other_sum(1, 2, "abc", 4.5, 5, 6, 7, 8) == 8);
    CHECK(textpoke_call_set(sum, 0) == 0 && textpoke_call_get(sum) == NULL);
    CHECK(textpoke_call(sum)(1, 2, "abc", 4.5, 5, 6, 7, 8) == 0 && other_sum(1, 2, "abc", 4.5, 5, 6, 7, 8) == 0);
    CHECK(textpoke_call_set(sum, add) == 0 && textpoke_call(sum)(1, 2, "abc", 4.5, 5, 6, 7, 8) == 36);
    CHECK(textpoke_call(real)(3) == 0 && textpoke_call(swapped)((struct pair){ 3, 4 }).b == 0);
    CHECK(textpoke_call_set(real, half) == 0 && textpoke_call_set(swapped, swap) == 0);
    CHECK(textpoke_call(real)(3) == 1.5 && textpoke_call(swapped)((struct pair){ 3, 4 }).b == 3);
}

static void numbers(void)
{
    CHECK(textpoke_imm(small_number) == 65535 && textpoke_imm(large_number) == -5);
    CHECK(textpoke_imm_set(&small_number, 65536) == TEXTPOKE_E_ARGUMENT && textpoke_imm(small_number) == 65535);
    CHECK(textpoke_imm_set(&small_number, 12) == 0 && textpoke_imm(small_number) == 12);
    int error = textpoke_imm_set(&large_number, (uint64_t)INT64_MIN);
    if (error == TEXTPOKE_E_REFUSED) {
        /* Not documented by this processor's vendor. */
        textpoke_assume_word_stores();
        error = textpoke_imm_set(&large_number, (uint64_t)INT64_MIN);
    }
    CHECK(error == 0 && textpoke_imm(large_number) == INT64_MIN && textpoke_imm_get(large_number) == INT64_MIN);
    CHECK(textpoke_imm_set(&large_number, (uint64_t)-5) == 0 && textpoke_imm_set(&small_number, 65535) == 0);
}

static void forked(void)
{
    pid_t child = fork();
    if (child == 0) {
        set(true, false, true);
        _exit(seen() == expected(true, false, true) ? 0 : 1);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && status == 0 && seen() == expected(false, true, false));
}

static bool stop;
static void *flip(void *unused)
{
    (void)unused;
    for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_SEQ_CST); i++)
        set(i & 1, i & 2, i & 4);
    return NULL;
}

typedef struct { unsigned (*seen)(void); unsigned (*at_load)(void); int (*own)(void); int (*sum)(void); textpoke_key *key; } plugin;
static plugin load(const char *path, void **handle)
{
    plugin p;
    *handle = dlopen(path, RTLD_NOW);
    if (!*handle)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(*handle != NULL);
    *(void **)&p.seen = dlsym(*handle, "plugin_seen");
    *(void **)&p.at_load = dlsym(*handle, "plugin_at_load");
    *(void **)&p.own = dlsym(*handle, "plugin_own_seen");
    *(void **)&p.sum = dlsym(*handle, "plugin_sum");
    p.key = dlsym(*handle, "plugin_own");
    CHECK(p.seen && p.at_load && p.own && p.sum && p.key);
    return p;
}

static void library(const char *path)
{
    void *handle;
    for (unsigned i = 0; i < 8; i++) {
        set(i & 1, i & 2, i & 4);
        /* Before. Its constructor has seen them, too, and turned a key of its own. */
        plugin p = load(path, &handle);
        CHECK(p.at_load() == expected(i & 1, i & 2, i & 4) && p.seen() == expected(i & 1, i & 2, i & 4));
        CHECK(p.own() == 1 && textpoke_key_disable(p.key) == 0 && p.own() == 0);
        /* Afterwards. */
        set(!(i & 1), !(i & 2), !(i & 4));
        CHECK(p.seen() == expected(!(i & 1), !(i & 2), !(i & 4)));
        CHECK(p.sum() == 36 && textpoke_call_set(sum, count) == 0 && p.sum() == 8 && textpoke_call_set(sum, add) == 0);
        CHECK(dlclose(handle) == 0);
        CHECK(textpoke_call_set(sum, count) == 0 && textpoke_call_set(sum, add) == 0);
    }
    /* Meanwhile. */
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, flip, NULL) == 0);
    for (int i = 0; i < 100; i++) {
        plugin p = load(path, &handle);
        CHECK((p.seen() & ~31u) == 0 && p.own() == 1);
        CHECK(dlclose(handle) == 0);
    }
    plugin p = load(path, &handle);
    __atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(p.seen() == seen() && p.seen() == other_seen());
    set(false, true, false);
    CHECK(p.seen() == expected(false, true, false) && dlclose(handle) == 0);
}

__attribute__((constructor)) static void early(void)
{
    CHECK(seen() == expected(false, true, false));
    CHECK(textpoke_key_enable(&several[1]) == 0 && textpoke_unlikely_at(several, 1));
}

int main(int argc, char **argv)
{
    CHECK(seen() == expected(false, true, false) && textpoke_likely_at(several, 1) && !textpoke_likely_at(several, 0));
    for (unsigned i = 0; i < 16; i++)
        set(i & 1, i & 2, i & 4);
    set(false, true, false);
    counting();
    calls();
    numbers();
    forked();
    for (int i = 1; i < argc; i++)
        library(argv[i]);
    puts("good");
    return 0;
}
