// Many shapes of functions: jump tables, computed gotos, tail calls, tiny leaves, deep recursion,
// variable frames, long jumps, function pointers, conditional and shared exits.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP __attribute__((noinline, noipa))

KEEP unsigned long fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

KEEP int tiny(int *p) { return *p; }

KEEP int constant(void) { return 7; }

KEEP void nothing(void) {}

KEEP int choose(int x, int y)
{
    switch (x) {
    case 0: return y + 1;
    case 1: return y * 3;
    case 2: return constant() + y;
    case 3: return y - 9;
    case 4: return y ^ 0x55;
    case 5: return tiny(&y) << 2;
    case 6: return y / 3;
    case 9: return y % 5;
    default: return -1;
    }
}

KEEP long interpret(const unsigned char *code)
{
    static const void *const labels[] = {&&halt, &&add, &&dup, &&mul, &&dec, &&loop};
    long a = 1, n = 1;
    goto *labels[*code];
add: a += n; goto *labels[*++code];
dup: n = a; goto *labels[*++code];
mul: a = a * n % 1000003; goto *labels[*++code];
dec: n--; goto *labels[*++code];
loop: if (n > 0) code -= 2; goto *labels[*++code];
halt: return a;
}

typedef int (*operation)(int, int);
KEEP static int plus(int a, int b) { return a + b; }
KEEP static int minus(int a, int b) { return a - b; }
KEEP static int apply(operation f, int a, int b) { return f(b, a); }
static operation const operations[] = {plus, minus, choose};
KEEP int indexed(int i, int a, int b) { return operations[i % 3](a, b); }

KEEP int sum(int n, ...)
{
    va_list list;
    int total = 0;
    va_start(list, n);
    while (n--) total += va_arg(list, int);
    va_end(list);
    return total;
}

KEEP double floating(double x) { return x > 2 ? x * 0.5 : x + 0.25; }

KEEP size_t variable(int n)
{
    size_t total = 0;
    for (int i = 1; i < n; i++) {
        char buffer[i];
        memset(buffer, 'x', i - 1);
        buffer[i - 1] = 0;
        total += strlen(buffer);
    }
    return total;
}

static jmp_buf place;
KEEP void jumper(int n) { if (n == 3) longjmp(place, n); }
KEEP int jumps(void)
{
    volatile int i = 0;
    if (setjmp(place)) return i;
    for (;; i++) jumper(i);
}

KEEP int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

KEEP int search(const int *list, int n, int x)
{
    for (int i = 0; i < n; i++)
        if (list[i] == x) return i;
    return -1;
}

static void report(void)
{
    // Set by the test: address and number of the counters that were put in.
    const char *at = getenv("COUNTERS"), *count = getenv("COUNTED");
    if (!at || !count) return;
    const unsigned long *counters = (const unsigned long *)strtoul(at, 0, 0);
    for (long i = 0; i < atol(count); i++) fprintf(stderr, "%ld %lu %lu\n", i, counters[2 * i], counters[2 * i + 1]);
}

int main(void)
{
    atexit(report);
    int list[100];
    for (int i = 0; i < 100; i++) list[i] = i * 37 % 101;
    printf("%lu\n", fib(20));
    long total = 0;
    for (int i = 0; i < 3000; i++) {
        total += choose(i % 11, i) + indexed(i, i, 3) + apply(i & 1 ? plus : minus, i, 2);
        total += search(list, 100, i % 130) + tiny(&list[i % 100]);
        nothing();
    }
    printf("%ld\n", total);
    static const unsigned char code[] = {1, 2, 3, 4, 5, 1, 2, 1, 0};
    printf("%ld\n", interpret(code));
    printf("%d %g %zu %d\n", sum(4, 1, 2, 3, 4), floating(1) + floating(3), variable(40), jumps());
    qsort(list, 100, sizeof *list, compare);
    for (int i = 0; i < 100; i += 9) printf("%d ", list[i]);
    puts("");
    return 0;
}
