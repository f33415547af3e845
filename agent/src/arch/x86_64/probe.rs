//! The probes: what every traced entry and exit passes.
//!
//! A trampoline pushes RAX, puts the site's number into EAX and calls `textpoke_probe_entry` or
//! `textpoke_probe_exit`; the probe preserves every other register, the flags, and RAX as far as the stack holds
//! it. It touches neither x87 nor SSE, takes no lock, and uses 40 bytes of stack (72 the first time in a thread).
//!
//! **Who writes where.** The GS base leads to the thread's header in LOCAL, if it is one of this session's headers and
//! the header's owner is this thread (its FS base: a new thread inherits its creator's GS base). LOCAL is private and
//! zeroed by fork, so that a fork child, which shares the rings, owns no header.
//!
//! **What may happen between any two instructions.** A signal whose handler is traced too: it may take slots (so a slot
//! is reserved by one `xadd`, and the ring counts as full while there are still slots for handlers), claim a ring for
//! this thread (so the claim looks again before it takes effect), fork (so the claim is void unless LOCAL is alive
//! *after* the header was written), or leave by a jump (then a reserved slot stays uncommitted, which the reader
//! notices). The thread may be preempted, and the trampoline's site removed: the code stays mapped until the tracer has
//! seen that nobody is here. Threads that share one FS base race for one ring and spoil each other's records, but never
//! write outside the ring.

use core::arch::global_asm;
use core::mem::offset_of;

use textpoke_trace::control::{Control, Probes};
use textpoke_trace::local::{LocalHeader, ThreadHeader};
use textpoke_trace::params::Params;
use textpoke_trace::record::{RECORD_BYTES, SITE_BITS};
use textpoke_trace::ring::{Aligned, RingHeader, state};

/// Bytes below the stack pointer that a leaf function may use (System V ABI x86-64, 3.2.2); exits skip them.
const RED_ZONE: usize = 128;
/// Bytes between the probe's lowest stack pointer and the program's: four registers, return address, RAX.
const FRAME: usize = 48;
/// `gettid`.
const SYS_GETTID: usize = 186;

const _: () = assert!(size_of::<RingHeader>() == 256 && size_of::<ThreadHeader>() == 64, "the shifts below");
const _: () = assert!(state::FREE == 0 && state::CLAIMED == 1 && size_of::<Aligned>() == 128);

macro_rules! probe {
    ($name:literal, $skip:expr) => {
        global_asm!(
            concat!(".globl ", $name),
            ".p2align 6",
            concat!($name, ":"),
            "push rcx",
            "push rdx",
            "push rsi",
            "mov ecx, eax",
            // The flags, but for DF, TF and the like, which nothing here changes. PUSHF and POPF take ten times as long.
            "lahf",
            "seto al",
            "push rax",
            // Is the GS base one of our headers, and is it this thread's?
            "2: rdgsbase rsi",
            "mov rdx, rsi",
            "sub rdx, [rip + textpoke_params + {headers}]",
            "cmp rdx, [rip + textpoke_params + {headers_len}]",
            "jae 60f",
            // The time as early as it is of use: the CPU does what follows meanwhile. And before the reservation, so that
            // few instructions lie between that and the commit: a handler that comes there and does not return leaves a
            // hole.
            "rdtsc",
            "shl rdx, 32",
            "or rdx, rax",
            "rdfsbase rax",
            "cmp rax, [rsi + {owner}]",
            "jne 60f",
            // A handler may have forked since: then the header is zero here, in the child.
            "mov rsi, [rsi + {ring}]",
            "test rsi, rsi",
            "jz 60f",
            // Reserve first, look for room second: what a handler takes in between is behind this slot.
            "mov eax, {record}",
            "xadd [rsi + {head}], rax",
            "cmp rax, [rsi + {limit}]",
            "jae 50f",
            "4: and rax, [rsi + {mask}]",
            "add rax, [rsi + {slots}]",
            "lea rsi, [rsp + {sp}]",
            "shr rsi, 3",
            "shl rsi, {site_bits}",
            "or rcx, rsi",
            "mov [rax + 8], rcx",
            // Committed. Stores become visible in order on x86.
            "mov [rax], rdx",
            "5: pop rax",
            "add al, 127",
            "sahf",
            "pop rsi",
            "pop rdx",
            "pop rcx",
            "ret",
            // No room when last looked, or none ever: the tracer takes a ring back by setting its limit to 0 first.
            "50: push rdi",
            "cmp dword ptr [rsi + {state}], {claimed}",
            "jne 51f",
            // Look again how far the reader got. A handler that does the same in between may have stored a later limit;
            // ours is then too low, never too high.
            "55: mov rdi, [rsi + {tail}]",
            "add rdi, [rsi + {mask}]",
            "inc rdi",
            "mov [rsi + {limit}], rdi",
            "cmp rax, rdi",
            "jb 52f",
            // Full. Give the slot back, unless a handler has found room meanwhile and taken one behind it: then this one is
            // a hole, which the reader counts.
            "mov rdi, rax",
            "add rax, {record}",
            "cmpxchg [rsi + {head}], rdi",
            "jne 53f",
            "mov [rsi + {lost_at}], rdi",
            "inc qword ptr [rsi + {lost}]",
            "53: pop rdi",
            "jmp 5b",
            // Not ours any more: give the slot back. That fails if a handler has claimed the ring for this thread again and
            // used it; then it is ours after all.
            "51: mov rdi, rax",
            "add rax, {record}",
            "cmpxchg [rsi + {head}], rdi",
            "je 54f",
            "mov rax, rdi",
            "cmp dword ptr [rsi + {state}], {claimed}",
            "je 55b",
            "54: pop rdi",
            "jmp 60f",
            "52: pop rdi",
            "jmp 4b",
            // Not our header. Probes switched off, or a fork child?
            "60: cmp dword ptr [rip + textpoke_params + {enabled}], 0",
            "je 5b",
            "mov rsi, [rip + textpoke_params + {local}]",
            "cmp dword ptr [rsi + {alive}], 0",
            "je 5b",
            // A GS base from the window is ours or of an earlier session; any other belongs to the program.
            "mov rsi, [rip + textpoke_params + {control}]",
            "rdgsbase rdx",
            "test rdx, rdx",
            "jz 61f",
            "mov rax, rdx",
            "sub rax, [rip + textpoke_params + {window_start}]",
            "cmp rax, [rip + textpoke_params + {window_len}]",
            "jb 70f",
            "lock inc qword ptr [rsi + {foreign}]",
            "jmp 5b",
            // Has a handler claimed a ring since the fast path looked?
            "70: mov rax, rdx",
            "sub rax, [rip + textpoke_params + {headers}]",
            "cmp rax, [rip + textpoke_params + {headers_len}]",
            "jae 71f",
            "rdfsbase rax",
            "cmp rax, [rdx + {owner}]",
            "jne 71f",
            "mov rax, [rdx + {ring}]",
            "test rax, rax",
            "jz 71f",
            "cmp dword ptr [rax + {state}], {claimed}",
            "je 2b",
            // From 0, so that a handler's claim will show as a change.
            "71: xor edx, edx",
            "wrgsbase rdx",
            // A ticket for a free ring.
            "61: cmp dword ptr [rsi + {free}], 0",
            "jle 69f",
            "lock dec dword ptr [rsi + {free}]",
            "js 68f",
            "push rdi",
            "push r8",
            "push r11",
            // At most once round. R8 = index, RDI = ring header, RDX = 0, the GS base.
            "mov r8d, [rsi + {hint}]",
            "mov r11, [rip + textpoke_params + {ring_count}]",
            "62: dec r11",
            "js 67f",
            "inc r8",
            "cmp r8, [rip + textpoke_params + {ring_count}]",
            "jb 63f",
            "xor r8d, r8d",
            "63: mov rdi, r8",
            "shl rdi, 8",
            "add rdi, [rip + textpoke_params + {rings}]",
            "xor eax, eax",
            "push rcx",
            "mov ecx, {claimed}",
            "lock cmpxchg [rdi + {state}], ecx",
            "pop rcx",
            "jne 62b",
            "mov [rsi + {hint}], r8d",
            "push rcx",
            "mov eax, {sys_gettid}",
            "syscall",
            "pop rcx",
            "mov [rdi + {tid}], eax",
            // Has a handler claimed one for us meanwhile?
            "rdgsbase rax",
            "cmp rax, rdx",
            "jne 66f",
            "shl r8, 6",
            "add r8, [rip + textpoke_params + {headers}]",
            "mov [r8 + {ring}], rdi",
            "rdfsbase rax",
            "mov [r8 + {owner}], rax",
            // A handler may have forked: then the header was written in the child, which must own none.
            "mov rax, [rip + textpoke_params + {local}]",
            "cmp dword ptr [rax + {alive}], 0",
            "je 65f",
            "wrgsbase r8",
            "pop r11",
            "pop r8",
            "pop rdi",
            "jmp 2b",
            "65: mov qword ptr [r8 + {owner}], 0",
            "pop r11",
            "pop r8",
            "pop rdi",
            "jmp 5b",
            "66: mov dword ptr [rdi + {tid}], 0",
            "mov dword ptr [rdi + {state}], 0",
            "lock inc dword ptr [rsi + {free}]",
            "pop r11",
            "pop r8",
            "pop rdi",
            "jmp 2b",
            // The ticket was good, but others were faster and gave back behind us.
            "67: pop r11",
            "pop r8",
            "pop rdi",
            "68: lock inc dword ptr [rsi + {free}]",
            "69: lock inc qword ptr [rsi + {no_ring}]",
            "jmp 5b",
            headers = const offset_of!(Params, headers),
            headers_len = const offset_of!(Params, headers_len),
            enabled = const offset_of!(Params, enabled),
            local = const offset_of!(Params, local),
            control = const offset_of!(Params, control),
            rings = const offset_of!(Params, rings),
            ring_count = const offset_of!(Params, ring_count),
            window_start = const offset_of!(Params, window_start),
            window_len = const offset_of!(Params, window_len),
            alive = const offset_of!(LocalHeader, alive),
            owner = const offset_of!(ThreadHeader, owner),
            ring = const offset_of!(ThreadHeader, ring),
            head = const offset_of!(RingHeader, head),
            limit = const offset_of!(RingHeader, limit),
            lost = const offset_of!(RingHeader, lost),
            lost_at = const offset_of!(RingHeader, lost_at),
            slots = const offset_of!(RingHeader, slots),
            mask = const offset_of!(RingHeader, mask),
            tid = const offset_of!(RingHeader, tid),
            state = const offset_of!(RingHeader, state),
            tail = const offset_of!(RingHeader, tail),
            claimed = const state::CLAIMED,
            free = const offset_of!(Control, probes) + offset_of!(Probes, free),
            hint = const offset_of!(Control, probes) + offset_of!(Probes, hint),
            no_ring = const offset_of!(Control, probes) + offset_of!(Probes, no_ring),
            foreign = const offset_of!(Control, probes) + offset_of!(Probes, foreign),
            record = const RECORD_BYTES,
            site_bits = const SITE_BITS,
            sp = const FRAME + $skip,
            sys_gettid = const SYS_GETTID,
        );
    };
}

global_asm!(".pushsection .text.textpoke, \"ax\"");
probe!("textpoke_probe_entry", 0);
probe!("textpoke_probe_exit", RED_ZONE);
global_asm!(".popsection");
