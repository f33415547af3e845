// Linked to a program that is rewritten: tells the counters that were put in, when it ends.
#include <stdio.h>
#include <stdlib.h>

static void report(void)
{
    const char *at = getenv("COUNTERS"), *count = getenv("COUNTED");
    if (!at || !count) return;
    const unsigned long *counters = (const unsigned long *)strtoul(at, 0, 0);
    for (long i = 0; i < atol(count); i++) fprintf(stderr, "%ld %lu %lu\n", i, counters[2 * i], counters[2 * i + 1]);
}

__attribute__((constructor)) static void prepare(void) { atexit(report); }
