/* Static keys, static calls and immediate values for C and C++: switches that cost one instruction.
 *
 * A branch, a call and a number whose value stands in the code. Reading one costs no load; changing one changes machine
 * code while all threads run. Guarantees and memory layout: docs/keys.md. Linux on x86-64, AArch64 or RISC-V (rv64gc),
 * GCC 12 or Clang 14 and later (GCC 10 or Clang 12 on x86-64), C11 or C++17 and later. Link with -ltextpoke (pkg-config:
 * textpoke).
 *
 *     #include <textpoke.h>
 *     TEXTPOKE_KEY_DEFINE_FALSE(verbose);          // or `static TEXTPOKE_KEY_DEFINE_FALSE(verbose);`
 *
 *     void serve(const char *request)
 *     {
 *         if (textpoke_unlikely(verbose))          // one NOP while it is off
 *             puts(request);
 *     }
 *
 *     int error = textpoke_key_enable(&verbose);   // by any thread, at any time
 *     if (error)
 *         fprintf(stderr, "%s\n", textpoke_error_message());
 *
 * What every function here needs: it is not called in a signal handler nor in a vfork child, and no function pointer or
 * key that is handed over is in a library that is unloaded meanwhile. On processors other than AMD's, threads must be
 * able to take SIGTRAP where they come by a site (see textpoke_assume_word_stores). Otherwise any thread may call any
 * function at any time, also before main and in constructors.
 *
 * Functions return 0, or a number above 0 that says why nothing was changed: enum textpoke_error.
 */
#ifndef TEXTPOKE_H
#define TEXTPOKE_H

#if !defined(__LP64__) || !defined(__linux__) || !defined(__GNUC__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ \
    || !(defined(__x86_64__) || defined(__aarch64__) || (defined(__riscv) && defined(__riscv_compressed)))
#error "textpoke.h is for 64-bit Linux on x86, AArch64 and RISC-V (rv64gc), GCC or Clang"
#endif
#if defined(__cplusplus) && __cplusplus < 201703L
#error "textpoke.h needs C++17: -std=c++17"
#elif !defined(__cplusplus) && (!defined(__STDC_VERSION__) || __STDC_VERSION__ < 201112L)
#error "textpoke.h needs C11: -std=c11 or -std=gnu11"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Errors. When a function returns one, all keys and all code are as they were before, but for TEXTPOKE_E_BROKEN. */
enum textpoke_error {
    TEXTPOKE_OK = 0,
    /* A null or misaligned pointer, a key of another kind, or a number that the immediate value has no room for. */
    TEXTPOKE_E_ARGUMENT = 1,
    /* Several users have the key on: they decrement it; `disable` is for keys that are not counted. */
    TEXTPOKE_E_COUNTED = 2,
    /* Decremented more often than incremented. */
    TEXTPOKE_E_NOT_COUNTED = 3,
    /* Incremented more than 4294967295 times. */
    TEXTPOKE_E_FULL = 4,
    /* A site cannot become what was asked; somebody else has changed its code, for instance. */
    TEXTPOKE_E_REFUSED = 5,
    /* A thread blocks SIGTRAP, and on this processor code is changed by traps: see textpoke_assume_word_stores. */
    TEXTPOKE_E_TRAP_BLOCKED = 6,
    /* The program has installed a SIGTRAP handler of its own after textpoke did: install it before. */
    TEXTPOKE_E_HANDLER = 7,
    /* The kernel refused something that is always needed: /proc, membarrier (Linux 4.16), or writing to text. */
    TEXTPOKE_E_SYSTEM = 8,
    /* The change failed half way and was undone. */
    TEXTPOKE_E_UNDONE = 9,
    /* The change failed half way and could not be undone. Threads are safe; the next change tries again. */
    TEXTPOKE_E_BROKEN = 10
};

/* A key: 64 bytes in a table of each program and library. Only `count` and `value` ever change; use the functions. */
typedef struct textpoke_key {
    uint8_t kind, width, reserved[2];
    uint32_t count;
    uint64_t value, initial;
    const char *name, *file;
    uint32_t name_length, file_length, line, index;
    uint64_t more;
} __attribute__((aligned(64))) textpoke_key;

/* The same for a function. */
typedef struct textpoke_call_key {
    uint8_t kind, width, reserved[2];
    uint32_t count;
    void (*value)(void);
    void (*initial)(void);
    const char *name, *file;
    uint32_t name_length, file_length, line, index;
    uint64_t more;
} __attribute__((aligned(64))) textpoke_call_key;

/* Types tell what a key is in the file: on (`_true`) or off (`_false`); or that it is an immediate value. All of them are
 * a textpoke_key: functions take a pointer to any of them. */
#ifdef __cplusplus
struct textpoke_key_true : textpoke_key {};
struct textpoke_key_false : textpoke_key {};
struct textpoke_imm_key : textpoke_key {};
#else
typedef struct textpoke_key_true { textpoke_key raw; } textpoke_key_true;
typedef struct textpoke_key_false { textpoke_key raw; } textpoke_key_false;
typedef struct textpoke_imm_key { textpoke_key raw; } textpoke_imm_key;
#endif

/* What is asked of a key in a batch. */
enum textpoke_ask {
    TEXTPOKE_ENABLE = 0,    /* as textpoke_key_enable */
    TEXTPOKE_DISABLE = 1,   /* as textpoke_key_disable */
    TEXTPOKE_INCREMENT = 2, /* as textpoke_key_inc */
    TEXTPOKE_DECREMENT = 3, /* as textpoke_key_dec */
    TEXTPOKE_SET = 4        /* for calls and immediate values: `value` */
};

/* A key, what is asked of it, and the number or the function's address for TEXTPOKE_SET. */
typedef struct textpoke_change {
    void *key;
    uint32_t ask;
    uint64_t value;
} textpoke_change;

#ifdef __cplusplus
extern "C" {
#endif

/* Turns a key on; nothing happens if it is. When it has returned, every thread acts on it. Microseconds. */
int textpoke_key_enable(textpoke_key *key);
/* Turns a key off that one user has on; nothing happens if it is off. */
int textpoke_key_disable(textpoke_key *key);
/* One more user has the key on. Changes code from 0 to 1 only. */
int textpoke_key_inc(textpoke_key *key);
/* One user less. Changes code from 1 to 0 only. */
int textpoke_key_dec(textpoke_key *key);
/* As textpoke_key_dec, in a thread of the library when so many milliseconds have passed, so that users who come and go at
 * a high rate do not change code each time. The key must not be unloaded before: see textpoke_key_flush. A decrement that
 * fails is tried again with the next and by textpoke_key_flush; a fork child inherits none. */
int textpoke_key_dec_later(textpoke_key *key, uint32_t milliseconds);
/* Does what textpoke_key_dec_later has put off for this key, now. What fails is still put off. To be called in the
 * destructor of a library whose keys are decremented later. */
int textpoke_key_flush(textpoke_key *key);
/* Gives an immediate value another number: at most as wide as it, or the negative number of its type in 64 bits. Of eight
 * bytes: only where the processor's vendor documents it or after textpoke_assume_word_stores. */
int textpoke_imm_set(textpoke_imm_key *key, uint64_t value);
/* For textpoke_call_set, which checks the type. */
int textpoke_call_replace(textpoke_call_key *key, void (*function)(void));
/* Makes `count` changes together: all or none. How often other processors are interrupted does not depend on `count`. Of
 * changes that concern one key the later sees what the earlier did. */
int textpoke_apply(const textpoke_change *changes, size_t count);

/* What an error number says; a text that is never freed. */
const char *textpoke_strerror(int error);
/* What the last function that failed in this thread had to say: with addresses, threads and advice. Valid until the next
 * call in this thread; an empty string before. */
const char *textpoke_error_message(void);

/* Allows changes by single stores on processors whose vendor does not document them, above all Intel's; on AMD's they are
 * always allowed. Then no thread takes a trap, and threads may block SIGTRAP. Safety: the processor must execute either
 * the old or the new instruction when one store inside an aligned 8-byte word changes it. */
void textpoke_assume_word_stores(void);

/* Not to be called: what programs and libraries with keys do when they come and go. */
void textpoke_object_coming(const void *object);
void textpoke_object_going(const void *object);

#ifdef __cplusplus
}
#endif

/* Whether every thread sees the key on. Acquire: whoever reads `true` finds every branch on. */
static inline bool textpoke_key_is_enabled(const textpoke_key *key)
{
    return __atomic_load_n(&key->value, __ATOMIC_ACQUIRE) != 0;
}

/* How many users have the key on. */
static inline uint32_t textpoke_key_count(const textpoke_key *key)
{
    return __atomic_load_n(&key->count, __ATOMIC_ACQUIRE);
}

#ifndef __cplusplus
/* C has no base classes: these make a pointer to any key one to a textpoke_key. */
#define TEXTPOKE_I_KEY(key) _Generic((key), \
    textpoke_key *: (void *)(key), textpoke_key_true *: (void *)(key), textpoke_key_false *: (void *)(key))
#define TEXTPOKE_I_CONST_KEY(key) _Generic((key), \
    textpoke_key *: (const void *)(key), const textpoke_key *: (const void *)(key), \
    textpoke_key_true *: (const void *)(key), const textpoke_key_true *: (const void *)(key), \
    textpoke_key_false *: (const void *)(key), const textpoke_key_false *: (const void *)(key))
#define textpoke_key_enable(key) textpoke_key_enable(TEXTPOKE_I_KEY(key))
#define textpoke_key_disable(key) textpoke_key_disable(TEXTPOKE_I_KEY(key))
#define textpoke_key_inc(key) textpoke_key_inc(TEXTPOKE_I_KEY(key))
#define textpoke_key_dec(key) textpoke_key_dec(TEXTPOKE_I_KEY(key))
#define textpoke_key_dec_later(key, milliseconds) textpoke_key_dec_later(TEXTPOKE_I_KEY(key), milliseconds)
#define textpoke_key_flush(key) textpoke_key_flush(TEXTPOKE_I_KEY(key))
#define textpoke_key_is_enabled(key) textpoke_key_is_enabled(TEXTPOKE_I_CONST_KEY(key))
#define textpoke_key_count(key) textpoke_key_count(TEXTPOKE_I_CONST_KEY(key))
#endif

/* ---- Keys --------------------------------------------------------------------------------------------------------
 *
 * TEXTPOKE_KEY_DEFINE_TRUE(name);    Defines a key that is on, or off, at first. In front may stand `static`, an
 * TEXTPOKE_KEY_DEFINE_FALSE(name);   attribute, or `extern "C"`; the name may be that of a static member (C::name).
 *                                    Not `inline`, and no member of a template.
 * TEXTPOKE_KEY_DECLARE_TRUE(name);   Declares a key that is defined elsewhere, in this or another library, in C, C++ or
 * TEXTPOKE_KEY_DECLARE_FALSE(name);  Rust (`#[unsafe(no_mangle)] static` of `static_key!`). It must say what the
 *                                    definition says.
 * TEXTPOKE_KEYS_DEFINE_TRUE(name, n), ...FALSE, TEXTPOKE_KEYS_DECLARE_...: an array of n keys, 1 to 65535.
 *
 * textpoke_unlikely(key)             Whether the key is on, a bool. Where it mostly is not: then one NOP, and what
 *                                    happens if it is stands elsewhere.
 * textpoke_likely(key)               The same where it mostly is.
 * textpoke_unlikely_at(keys, i)      The same for a key of an array; i is a constant.
 * textpoke_likely_at(keys, i)
 *
 * A branch is no barrier: data that goes with a key is published by atomics. */
#define TEXTPOKE_KEY_DEFINE_TRUE(name) TEXTPOKE_I_DEFINE(textpoke_key_true, name, 0, 1, 1, 1)
#define TEXTPOKE_KEY_DEFINE_FALSE(name) TEXTPOKE_I_DEFINE(textpoke_key_false, name, 0, 1, 0, 0)
#define TEXTPOKE_KEY_DECLARE_TRUE(name) extern textpoke_key_true name
#define TEXTPOKE_KEY_DECLARE_FALSE(name) extern textpoke_key_false name
#ifdef __cplusplus
#define TEXTPOKE_KEYS_DECLARE_TRUE(name, n) extern textpoke_detail::array<textpoke_key_true, n> name
#define TEXTPOKE_KEYS_DECLARE_FALSE(name, n) extern textpoke_detail::array<textpoke_key_false, n> name
#else
#define TEXTPOKE_KEYS_DECLARE_TRUE(name, n) extern textpoke_key_true name[n]
#define TEXTPOKE_KEYS_DECLARE_FALSE(name, n) extern textpoke_key_false name[n]
#endif

#define textpoke_unlikely(key) TEXTPOKE_I_BRANCH(key, key, 0, 0)
#define textpoke_likely(key) TEXTPOKE_I_BRANCH(key, key, 0, 1)
#define textpoke_unlikely_at(keys, i) TEXTPOKE_I_BRANCH(keys, (keys)[0], TEXTPOKE_I_WITHIN(keys, i), 0)
#define textpoke_likely_at(keys, i) TEXTPOKE_I_BRANCH(keys, (keys)[0], TEXTPOKE_I_WITHIN(keys, i), 1)

/* ---- Static calls ------------------------------------------------------------------------------------------------
 *
 * TEXTPOKE_CALL_DEFINE(name, type, function);   Defines a call of a function of this type, int(long, char *) for
 *                                               instance; type of result: an integer, pointer, float, double, or void.
 * TEXTPOKE_CALL_DEFINE_NULL(name, type);        The same without a function: the call returns 0.
 * TEXTPOKE_CALL_DECLARE(name, type);            Declares one that is defined elsewhere.
 * textpoke_call(name)(arguments...)             Calls it: a CALL of a JMP, whose target is the function.
 * textpoke_call_set(name, function)             Exchanges it; 0 for none. Returns an error number. The old function may
 *                                               still be running when it returns, so must not be unloaded then.
 * textpoke_call_get(name)                       The function, or a null pointer.
 *
 * A call's name is one of the whole program: not static, and in C++ at global scope. Before it is first set, and where
 * the function is further away than a JMP reaches (2 GiB: in another library), the JMP leads to code that loads it. */
#define TEXTPOKE_CALL_DECLARE(name, type) \
    TEXTPOKE_I_EXTERN __typeof__(type) textpoke_call_##name __attribute__((visibility("hidden"))); \
    TEXTPOKE_I_EXTERN textpoke_call_key name
#define TEXTPOKE_CALL_DEFINE(name, type, function) \
    TEXTPOKE_CALL_DECLARE(name, type); \
    textpoke_call_key name TEXTPOKE_I_PLACE = { \
        TEXTPOKE_I_FIELDS(1, 8, 0, TEXTPOKE_I_FUNCTION(name, function), #name, TEXTPOKE_I_ALONE) \
    }; \
    __asm__(TEXTPOKE_I_OBJECT)
#define TEXTPOKE_CALL_DEFINE_NULL(name, type) TEXTPOKE_CALL_DEFINE(name, type, 0)

#define textpoke_call(name) (*__extension__({ __asm__ volatile(TEXTPOKE_I_TRAMPOLINE(#name)); &textpoke_call_##name; }))
#define textpoke_call_set(name, function) textpoke_call_replace(&name, TEXTPOKE_I_FUNCTION(name, function))
#define textpoke_call_get(name) ((__typeof__(&textpoke_call_##name))__atomic_load_n(&(name).value, __ATOMIC_ACQUIRE))

/* ---- Immediate values --------------------------------------------------------------------------------------------
 *
 * TEXTPOKE_IMM_DEFINE(name, type, initial);   Defines a number of an integer type of 1 to 8 bytes. `static` may stand in
 *                                             front.
 * TEXTPOKE_IMM_DECLARE(name, type, initial);  Declares one that is defined elsewhere, with the same type and number.
 * textpoke_imm(name)                          The number, of its type: one MOV (on AArch64 and RISC-V a load). An old or a
 *                                             new one, never a mixture; the new one when textpoke_imm_set has returned. No
 *                                             acquire load.
 * textpoke_imm_get(name)                      The same from memory, with acquire. */
#ifdef __cplusplus
#define TEXTPOKE_IMM_DECLARE(name, type, initial) \
    extern textpoke_detail::imm<type, static_cast<type>(initial)> name
#define TEXTPOKE_IMM_DEFINE(name, type, initial) \
    textpoke_detail::imm<type, static_cast<type>(initial)> name TEXTPOKE_I_PLACE = { { { \
        TEXTPOKE_I_FIELDS(2, sizeof(type), 0, TEXTPOKE_I_BITS(type, initial), #name, TEXTPOKE_I_ALONE) \
    } } }; \
    __asm__(TEXTPOKE_I_OBJECT)
#define textpoke_imm(name) \
    (static_cast<decltype(textpoke_detail::type_of(name))>(TEXTPOKE_I_READ(name, (name).value, \
        sizeof(textpoke_detail::type_of(name)) > 4, decltype(textpoke_detail::bits_of(name))::value)))
#define textpoke_imm_get(name) \
    (static_cast<decltype(textpoke_detail::type_of(name))>(__atomic_load_n(&(name).value, __ATOMIC_ACQUIRE)))
#else
/* The type and the number are kept in the types of things that exist nowhere. */
#define TEXTPOKE_I_SHAPE(name, type, initial) \
    extern type textpoke_type_##name; \
    extern const char textpoke_low_##name[(TEXTPOKE_I_BITS(type, initial) & 0xffffffff) + 1]; \
    extern const char textpoke_high_##name[(TEXTPOKE_I_BITS(type, initial) >> 32) + 1]
#define TEXTPOKE_IMM_DECLARE(name, type, initial) \
    extern textpoke_imm_key name; \
    TEXTPOKE_I_SHAPE(name, type, initial)
#define TEXTPOKE_IMM_DEFINE(name, type, initial) \
    TEXTPOKE_I_DEFINE(textpoke_imm_key, name, 2, sizeof(type), 0, TEXTPOKE_I_BITS(type, initial)); \
    TEXTPOKE_I_SHAPE(name, type, initial)
#define textpoke_imm(name) \
    ((__typeof__(textpoke_type_##name))TEXTPOKE_I_READ(name, (name).raw.value, sizeof(textpoke_type_##name) > 4, \
        (sizeof(textpoke_low_##name) - 1) | (sizeof(textpoke_high_##name) - 1) << 32))
#define textpoke_imm_get(name) \
    ((__typeof__(textpoke_type_##name))__atomic_load_n(&(name).raw.value, __ATOMIC_ACQUIRE))
#endif

/* ---- Changes of a batch ------------------------------------------------------------------------------------------
 *
 *     textpoke_change changes[] = {
 *         TEXTPOKE_CHANGE(&verbose, TEXTPOKE_ENABLE),
 *         TEXTPOKE_CHANGE_CALL(scale, thrice),
 *         TEXTPOKE_CHANGE_IMM(&limit, 250),
 *     };
 *     int error = textpoke_apply(changes, 3); */
#define TEXTPOKE_CHANGE(key, ask) { (key), (ask), 0 }
#define TEXTPOKE_CHANGE_IMM(key, value) { (key), TEXTPOKE_SET, (uint64_t)(value) }
#define TEXTPOKE_CHANGE_CALL(name, function) \
    { &(name), TEXTPOKE_SET, (uint64_t)(uintptr_t)TEXTPOKE_I_FUNCTION(name, function) }

/* ---- What the macros are made of; not to be used, and free to change -------------------------------------------- */

#ifdef __cplusplus
#define TEXTPOKE_I_EXTERN extern "C"
#define TEXTPOKE_I_ASSERT static_assert
#else
#define TEXTPOKE_I_EXTERN extern
#define TEXTPOKE_I_ASSERT _Static_assert
#endif
TEXTPOKE_I_ASSERT(sizeof(textpoke_key) == 64 && sizeof(textpoke_call_key) == 64, "the layout is fixed");

/* The index of a key in no array, and of one in an array whose position follows from the keys in front. */
#define TEXTPOKE_I_ALONE 0xffffffffu
#define TEXTPOKE_I_UNCOUNTED 0xfffffffeu
/* The given alignment keeps the compiler from choosing a wider one, which would leave a gap in the table. */
#define TEXTPOKE_I_PLACE __attribute__((section("textpoke_keys"), used, aligned(64)))
#define TEXTPOKE_I_FIELDS(kind, width, count, initial, text, index) \
    kind, width, { 0, 0 }, count, initial, initial, text, __FILE__, sizeof(text) - 1, sizeof(__FILE__) - 1, __LINE__, \
    index, 0
#define TEXTPOKE_I_DEFINE(type, name, kind, width, count, initial) \
    type name TEXTPOKE_I_PLACE = { { TEXTPOKE_I_FIELDS(kind, width, count, initial, #name, TEXTPOKE_I_ALONE) } }; \
    __asm__(TEXTPOKE_I_OBJECT)
/* A function as the key has it, checked against the type of the call. */
#define TEXTPOKE_I_FUNCTION(name, function) \
    ((void (*)(void))(1 ? (function) : (__typeof__(&textpoke_call_##name))0))
#define TEXTPOKE_I_BITS(type, initial) ((uint64_t)(type)(initial) & (~(uint64_t)0 >> (64 - 8 * sizeof(type))))
#define TEXTPOKE_I_WITHIN(keys, i) ((i) + 0 * sizeof(char[(i) < sizeof(keys) / sizeof(textpoke_key) ? 1 : -1]))

/* ---- Assembly of each instruction set --------------------------------------------------------------------------
 *
 * TEXTPOKE_I_HOOK(function)       Calls a function of the library with the object's words.
 * TEXTPOKE_I_SITE                 A branch at label .Ltextpoke_%=; docs/keys.md has its bytes. TEXTPOKE_I_LENGTH: how long.
 * TEXTPOKE_I_LOADED(name)         What a trampoline (777) jumps to at first (778): it loads the function from the key and
 *                                 jumps to it, or returns zero.
 * TEXTPOKE_I_NAMED(name)          The slot with the address of a key that is known by its name, made (if it has to be) by
 *                                 TEXTPOKE_I_MAKE_NAMED. Not every linker makes one by itself.
 * TEXTPOKE_I_SYMBOL, ..._NUMBER   The constraint for an address, and what a constant operand is called in the text. */
#if defined(__x86_64__)
#define TEXTPOKE_I_SYMBOL "i"
#define TEXTPOKE_I_NUMBER(operand) "%c[" #operand "]"
/* Instructions are bytes, so that they mean the same to an assembler that was told to expect Intel's syntax:
 * lea OBJECT(%rip), %rdi; jmp *FUNCTION@GOTPCREL(%rip). */
#define TEXTPOKE_I_HOOK(function) \
    ".byte 0x48, 0x8d, 0x3d\n.long textpoke_object - . - 4\n" \
    ".byte 0xff, 0x25\n.long " function "@GOTPCREL - 4\n"
/* The padding puts the byte that changes into one aligned word with the two before it, at an even address. */
#define TEXTPOKE_I_SITE \
    ".p2align 1, 0x2e\n" \
    ".p2align 3, 0x2e, 2\n" \
    ".Ltextpoke_%=:\n" \
    ".byte 0x0f, 0x1f, %c[jumps] * 0xc0 + (1 - %c[jumps]) * (0x44 + (773f - 772f - 2) * 64 / 3)\n" \
    "772: jmp %l[textpoke_jumped]\n" \
    "773:\n"
#define TEXTPOKE_I_LENGTH "773b - .Ltextpoke_%="
#define TEXTPOKE_I_CALL_LENGTH "5"
/* mov KEY@GOTPCREL(%rip), %r11; mov 8(%r11), %r11; test %r11, %r11; jz 1f; jmp *%r11; 1: xor %eax, %eax; xor %edx, %edx;
 * xorps %xmm0, %xmm0; ret. */
#define TEXTPOKE_I_LOADED(name) \
    "777: .byte 0xe9\n.long 778f - . - 4\n" \
    "778: .byte 0x4c, 0x8b, 0x1d\n.long " name "@GOTPCREL - 4\n" \
    ".byte 0x4d, 0x8b, 0x5b, 0x08, 0x4d, 0x85, 0xdb, 0x74, 0x03, 0x41, 0xff, 0xe3\n" \
    ".byte 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x57, 0xc0, 0xc3\n"
#define TEXTPOKE_I_NAMED(name) name "@GOTPCREL"
#define TEXTPOKE_I_MAKE_NAMED(name)
#else
#define TEXTPOKE_I_LENGTH "4"
#define TEXTPOKE_I_CALL_LENGTH "4"
#define TEXTPOKE_I_NAMED(name) "779b - ."
#define TEXTPOKE_I_MAKE_NAMED(name) \
    ".pushsection textpoke_slots, \"awo?\", @progbits, textpoke_call_" name "\n" \
    ".balign 8\n779: .quad " name "\n.popsection\n"
#define TEXTPOKE_I_SYMBOL "S"
#if defined(__aarch64__)
#define TEXTPOKE_I_NUMBER(operand) "%c[" #operand "]"
#define TEXTPOKE_I_HOOK(function) \
    "adrp x0, textpoke_object\nadd x0, x0, :lo12:textpoke_object\nb " function "\n"
#define TEXTPOKE_I_SITE \
    ".if " TEXTPOKE_I_NUMBER(jumps) "\n.Ltextpoke_%=: b %l[textpoke_jumped]\n.else\n.Ltextpoke_%=: nop\n.endif\n"
#define TEXTPOKE_I_LOADED(name) \
    "777: b 778f\n" \
    "778: adrp x16, :got:" name "\nldr x16, [x16, :got_lo12:" name "]\nldr x16, [x16, 8]\n" \
    "cbz x16, 1f\nbr x16\n1: mov x0, 0\nmov x1, 0\nfmov d0, xzr\nret\n"
#else
#define TEXTPOKE_I_NUMBER(operand) "%[" #operand "]"
#define TEXTPOKE_I_HOOK(function) "lla a0, textpoke_object\ntail " function "\n"
/* Aligned while there are small instructions to do it with. */
#define TEXTPOKE_I_SITE \
    ".balign 4\n.option push\n.option norvc\n" \
    ".if " TEXTPOKE_I_NUMBER(jumps) "\n.Ltextpoke_%=: jal zero, %l[textpoke_jumped]\n.else\n.Ltextpoke_%=: nop\n.endif\n" \
    ".option pop\n"
#define TEXTPOKE_I_LOADED(name) \
    ".option push\n.option norvc\n777: jal zero, 778f\n.option pop\n" \
    "778: auipc t1, %got_pcrel_hi(" name ")\nld t1, %pcrel_lo(778b)(t1)\nld t1, 8(t1)\n" \
    "beqz t1, 1f\njr t1\n1: li a0, 0\nli a1, 0\nfmv.d.x fa0, zero\nret\n"
#endif
#endif

/* The note and the object's words, empty tables (GNU ld wants there to be those whose ends are named), and what runs when
 * the object comes and goes; once in each program and library. */
#define TEXTPOKE_I_OBJECT \
    ".ifndef textpoke_object\n" \
    ".pushsection .data.textpoke, \"awG\", @progbits, textpoke_object, comdat\n" \
    ".balign 8\n" \
    ".weak textpoke_object\n.hidden textpoke_object\n" \
    "774: .quad 0, 0\n" \
    ".set textpoke_object, 774b\n" \
    ".pushsection textpoke_sites, \"ao?\", @progbits, textpoke_object\n.popsection\n" \
    ".pushsection textpoke_keys, \"aw\", @progbits\n.popsection\n" \
    ".popsection\n" \
    ".pushsection .note.textpoke, \"aGR\", @note, textpoke_object, comdat\n" \
    ".balign 4\n" \
    ".long 9, 28, 1\n.asciz \"textpoke\"\n.balign 4\n" \
    ".long 1\n.short 16, 64\n" \
    ".weak __start_textpoke_sites, __stop_textpoke_sites, __start_textpoke_keys, __stop_textpoke_keys\n" \
    ".hidden __start_textpoke_sites, __stop_textpoke_sites, __start_textpoke_keys, __stop_textpoke_keys\n" \
    ".long __start_textpoke_sites - ., __stop_textpoke_sites - .\n" \
    ".long __start_textpoke_keys - ., __stop_textpoke_keys - .\n" \
    ".long textpoke_object - .\n" \
    ".popsection\n" \
    ".endif\n" \
    ".ifndef textpoke_hooks\n" \
    ".pushsection .text.textpoke, \"axG\", @progbits, textpoke_hooks, comdat\n" \
    ".weak textpoke_hooks\n.hidden textpoke_hooks\n" \
    "775:\n" TEXTPOKE_I_HOOK("textpoke_object_coming") \
    "776:\n" TEXTPOKE_I_HOOK("textpoke_object_going") \
    ".set textpoke_hooks, 775b\n" \
    ".popsection\n" \
    ".pushsection .init_array.00099, \"awG\", @init_array, textpoke_hooks, comdat\n" \
    ".balign 8\n.quad 775b\n.popsection\n" \
    ".pushsection .fini_array.00099, \"awG\", @fini_array, textpoke_hooks, comdat\n" \
    ".balign 8\n.quad 776b\n.popsection\n" \
    ".endif\n"

/* An entry of the site table. The section is linked to the function's, so that both go together, and is in its group. */
#define TEXTPOKE_I_ENTRY(site, target, slot, kind, length, index) \
    ".pushsection textpoke_sites, \"ao?\", @progbits, " site "\n" \
    ".balign 4\n" \
    ".long " site " - .\n" \
    ".long " target " - .\n" \
    ".long " slot "\n" \
    ".byte " kind ", " length "\n" \
    ".short " index "\n" \
    ".popsection\n"

/* The slot that holds a key's address. Neither GCC nor Clang hands the name of a symbol of another library to assembly, so
 * it is a constant pointer of the compiler's. */
#ifdef __cplusplus
#define TEXTPOKE_I_SLOT(first)
#define TEXTPOKE_I_SLOT_OF(name) &textpoke_detail::slot<(name)>::key
#define TEXTPOKE_I_DEFAULT(first) (sizeof(textpoke_detail::initially(first)) - 1)
#else
#define TEXTPOKE_I_SLOT(first) static textpoke_key *const textpoke_slot = &(first).raw;
#define TEXTPOKE_I_SLOT_OF(name) &textpoke_slot
#define TEXTPOKE_I_DEFAULT(first) _Generic(&(first), textpoke_key_true *: 1, textpoke_key_false *: 0)
#endif

#define TEXTPOKE_I_GOTO(key, first, position, likely) \
    __asm__ goto( \
        TEXTPOKE_I_SITE \
        TEXTPOKE_I_ENTRY(".Ltextpoke_%=", "%l[textpoke_jumped]", TEXTPOKE_I_NUMBER(slot) " - .", \
            #likely " * 0x80", TEXTPOKE_I_LENGTH, TEXTPOKE_I_NUMBER(index)) \
        TEXTPOKE_I_OBJECT \
        : \
        : [slot] TEXTPOKE_I_SYMBOL(TEXTPOKE_I_SLOT_OF(key)), [jumps] "i"((int)(TEXTPOKE_I_DEFAULT(first) != likely)), \
          [index] "i"((int)(position)) \
        : \
        : textpoke_jumped)
#ifdef __cplusplus
/* In a function of its own: until version 17, Clang takes every label of a function for a target of every asm goto in it,
 * and finds that these jump over initialisations. */
#define TEXTPOKE_I_BRANCH(key, first, position, likely) \
    static_cast<bool>(__builtin_expect([]() __attribute__((always_inline)) { \
        TEXTPOKE_I_GOTO(key, first, position, likely); \
        return static_cast<bool>(likely); \
    textpoke_jumped: \
        return !likely; \
    }(), likely))
#else
#define TEXTPOKE_I_BRANCH(key, first, position, likely) __extension__({ \
    __label__ textpoke_jumped; \
    bool textpoke_on; \
    TEXTPOKE_I_SLOT(first) \
    TEXTPOKE_I_GOTO(key, first, position, likely); \
    textpoke_on = likely; \
    if (0) { \
    textpoke_jumped: \
        textpoke_on = !likely; \
    } \
    (bool)__builtin_expect(textpoke_on, likely); \
})
#endif

#if defined(__x86_64__)
/* A MOV whose operand lies in one aligned word. */
#define TEXTPOKE_I_READ(name, place, wide_, initial_) __extension__({ \
    TEXTPOKE_I_SLOT(name) \
    uint64_t textpoke_bits; \
    __asm__ volatile( \
        ".if %c[wide]\n" \
        ".p2align 3, 0x2e\n" \
        ".byte 0x66, 0x0f, 0x1f, 0x44, 0, 0\n" \
        ".Ltextpoke_%=: .byte 0x48, 0xb8\n" \
        ".quad %c[initial]\n" \
        ".else\n" \
        ".p2align 3, 0x2e, 4\n" \
        ".Ltextpoke_%=: .byte 0xb8\n" \
        ".long %c[initial]\n" \
        ".endif\n" \
        "773:\n" \
        TEXTPOKE_I_ENTRY(".Ltextpoke_%=", ".Ltextpoke_%=", "%c[slot] - .", "2", "773b - .Ltextpoke_%=", "0") \
        TEXTPOKE_I_OBJECT \
        : "=a"(textpoke_bits) \
        : [slot] "i"(TEXTPOKE_I_SLOT_OF(name)), [wide] "i"((int)(wide_)), [initial] "i"((uint64_t)(initial_))); \
    textpoke_bits; \
})
#else
/* No instruction that holds a number may change while others execute it (AArch64), or it takes several (RISC-V). */
#define TEXTPOKE_I_READ(name, place, wide, initial) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#endif

/* The function that a call really calls, once in each program and library: a jump to what stands behind it. */
#define TEXTPOKE_I_TRAMPOLINE(name) \
    ".ifndef textpoke_call_" name "\n" \
    ".pushsection .text.textpoke_call_" name ", \"axG\", @progbits, textpoke_call_" name ", comdat\n" \
    ".weak textpoke_call_" name "\n.hidden textpoke_call_" name "\n" \
    ".type textpoke_call_" name ", @function\n" \
    ".balign 8\n" \
    "textpoke_call_" name ":\n" \
    TEXTPOKE_I_LOADED(name) \
    ".size textpoke_call_" name ", . - textpoke_call_" name "\n" \
    TEXTPOKE_I_MAKE_NAMED(name) \
    TEXTPOKE_I_ENTRY("textpoke_call_" name, "778b", TEXTPOKE_I_NAMED(name), "0x41", TEXTPOKE_I_CALL_LENGTH, "0") \
    ".popsection\n" \
    ".endif\n" \
    TEXTPOKE_I_OBJECT

#ifdef __cplusplus
#define TEXTPOKE_I_ARRAY(type, name, n, initial) \
    textpoke_detail::array<type, n> name TEXTPOKE_I_PLACE = { #name, sizeof(#name) - 1, __FILE__, sizeof(__FILE__) - 1, \
        __LINE__, initial }; \
    __asm__(TEXTPOKE_I_OBJECT)

namespace textpoke_detail {

template <class T, size_t n> struct array {
    T keys[n];
    constexpr array(const char *name, uint32_t name_length, const char *file, uint32_t file_length, uint32_t line, bool on)
        : keys{}
    {
        static_assert(n > 0 && n < 65536, "an array of keys has 1 to 65535 of them");
        for (uint32_t i = 0; i < n; i++) {
            textpoke_key &key = keys[i];
            key.width = 1;
            key.count = on;
            key.value = key.initial = on;
            key.name = name;
            key.file = file;
            key.name_length = name_length;
            key.file_length = file_length;
            key.line = line;
            key.index = i;
        }
    }
    constexpr T &operator[](size_t i) { return keys[i]; }
    constexpr const T &operator[](size_t i) const { return keys[i]; }
};

/* The size of what is returned: 1 if the key is off in the file, 2 if it is on. */
char (&initially(const textpoke_key_false &))[1];
char (&initially(const textpoke_key_true &))[2];

template <class T, T initial> struct imm : textpoke_imm_key {};
template <uint64_t bits> struct number { static constexpr uint64_t value = bits; };
template <class T, T initial> T type_of(const imm<T, initial> &);
template <class T, T initial> number<TEXTPOKE_I_BITS(T, initial)> bits_of(const imm<T, initial> &);

constexpr textpoke_key *first(textpoke_key &key) { return &key; }
template <class T, size_t n> constexpr textpoke_key *first(array<T, n> &keys) { return &keys.keys[0]; }

/* Hidden, so that its address is no other library's. */
template <auto &K> struct __attribute__((visibility("hidden"))) slot { static constexpr textpoke_key *key = first(K); };

} // namespace textpoke_detail
#else
/* Ranges in initializers are an extension in a place that `__extension__` does not reach. */
#ifdef __clang__
#define TEXTPOKE_I_QUIET _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wgnu-designator\"")
#define TEXTPOKE_I_LOUD _Pragma("clang diagnostic pop")
#else
#pragma GCC system_header
#define TEXTPOKE_I_QUIET
#define TEXTPOKE_I_LOUD
#endif
#define TEXTPOKE_I_ARRAY(type, name, n, initial) \
    type name[n] TEXTPOKE_I_PLACE = { TEXTPOKE_I_QUIET [0 ... (n) - 1] = { { \
        TEXTPOKE_I_FIELDS(0, 1, initial, initial, #name, TEXTPOKE_I_UNCOUNTED) \
    } } TEXTPOKE_I_LOUD }; \
    __asm__(TEXTPOKE_I_OBJECT)
#endif
#define TEXTPOKE_KEYS_DEFINE_TRUE(name, n) TEXTPOKE_I_ARRAY(textpoke_key_true, name, n, 1)
#define TEXTPOKE_KEYS_DEFINE_FALSE(name, n) TEXTPOKE_I_ARRAY(textpoke_key_false, name, n, 0)

#endif
