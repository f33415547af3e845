/* A switch that costs one NOP while it is off, a number and a function that stand in the code.
 *
 *     cc -O2 switch.c $(pkg-config --cflags --libs textpoke) -o switch && ./switch
 *
 * While it runs (`./switch 1000`), in another terminal:
 *
 *     textpoke keys $(pidof switch)
 */
#include <stdio.h>
#include <stdlib.h>
#include <textpoke.h>
#include <unistd.h>

static TEXTPOKE_KEY_DEFINE_FALSE(verbose);
static TEXTPOKE_IMM_DEFINE(limit, unsigned, 10);

static unsigned twice(unsigned n)
{
    return 2 * n;
}

static unsigned square(unsigned n)
{
    return n * n;
}

TEXTPOKE_CALL_DEFINE(scale, unsigned(unsigned), twice);

static unsigned work(unsigned n)
{
    unsigned result = textpoke_call(scale)(n);
    if (textpoke_unlikely(verbose))
        printf("  scaled %u to %u, the limit is %u\n", n, result, textpoke_imm(limit));
    return result < textpoke_imm(limit) ? result : textpoke_imm(limit);
}

static void must(int error)
{
    if (error) {
        fprintf(stderr, "switch: %s\n", textpoke_error_message());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 0;

    printf("%u\n", work(7));
    must(textpoke_key_enable(&verbose));
    printf("%u\n", work(7));

    /* All at once: no thread sees one of them for good without the others. */
    textpoke_change changes[] = {
        TEXTPOKE_CHANGE(&verbose, TEXTPOKE_DISABLE),
        TEXTPOKE_CHANGE_IMM(&limit, 100),
        TEXTPOKE_CHANGE_CALL(scale, square),
    };
    must(textpoke_apply(changes, sizeof changes / sizeof changes[0]));
    printf("%u\n", work(7));

    for (int i = 0; i < seconds; i++) {
        sleep(1);
        work((unsigned)i);
        fflush(stdout);
    }
    return 0;
}
