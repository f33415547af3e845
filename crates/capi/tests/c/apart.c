/* A program that has neither keys nor sites, but turns one that two libraries share; a third comes later. */
#include <dlfcn.h>
#include <stdio.h>
#include <textpoke.h>

TEXTPOKE_KEY_DECLARE_FALSE(distant);
TEXTPOKE_KEYS_DECLARE_TRUE(distants, 3);
int distant_seen(void);
int distants_seen(void);

int main(int argc, char **argv)
{
    if (distant_seen() || textpoke_key_is_enabled(&distant))
        return 1;
    if (textpoke_key_enable(&distant)) {
        puts(textpoke_error_message());
        return 2;
    }
    if (!distant_seen() || !textpoke_key_is_enabled(&distant))
        return 3;
    if (distants_seen() != 3 || textpoke_key_disable(&distants[2]) || distants_seen() != 1)
        return 6;
    if (textpoke_key_disable(&distants[1]) || distants_seen() || textpoke_key_enable(&distants[2]) || distants_seen() != 2)
        return 7;
    if (argc > 1) {
        void *late = dlopen(argv[1], RTLD_NOW);
        int (*seen)(void);
        if (!late)
            return 4;
        *(void **)&seen = dlsym(late, "distant_seen");
        if (seen == distant_seen || !seen() || textpoke_key_disable(&distant) || seen())
            return 5;
        textpoke_key_enable(&distant);
    }
    return textpoke_key_disable(&distant) || distant_seen();
}
