//! The descriptor tables and the vectors.

use core::arch::{asm, naked_asm};

use textpoke_bare::trap_entry;
use textpoke_bare::x86_64::Saved;

use super::smp::Stack;
use super::{ipi, nmi, smp};
use crate::CPUS;

const CODE: u16 = 8;
const TASK: u16 = 0x20;
/// Interrupt gate: interrupts are off in the handler.
const GATE: u64 = 0x8e00;
/// Bytes of the stacks that the IST leads to.
const SMALL: usize = 8 * 1024;

#[repr(C, packed(4))]
struct Task {
    reserved: u32,
    rsp: [u64; 3],
    reserved_2: u64,
    ist: [u64; 7],
    reserved_3: u64,
    reserved_4: u16,
    io: u16,
}

static mut TASKS: [Task; CPUS] =
    [const { Task { reserved: 0, rsp: [0; 3], reserved_2: 0, ist: [0; 7], reserved_3: 0, reserved_4: 0, io: 104 } };
        CPUS];
static mut SEGMENTS: [[u64; 6]; CPUS] =
    [[0, 0x00af_9a00_0000_ffff, 0x00cf_9200_0000_ffff, 0x00cf_9a00_0000_ffff, 0, 0]; CPUS];
static mut VECTORS: [[u64; 2]; 256] = [[0; 2]; 256];
/// For NMIs until they have moved, and for double faults.
static mut IST: [[Stack<SMALL>; 2]; CPUS] = [const { [Stack::EMPTY; 2] }; CPUS];

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Loads this CPU's tables.
pub fn install(cpu: usize) {
    if cpu == 0 {
        vectors();
    }
    // SAFETY: each CPU touches its own; the tables are for good, and the selectors those of the tables before.
    unsafe {
        let ist = (&raw const IST[cpu]).addr() as u64;
        TASKS[cpu].ist = [ist + SMALL as u64, ist + 2 * SMALL as u64, 0, 0, 0, 0, 0];
        let task = (&raw const TASKS[cpu]).addr() as u64;
        SEGMENTS[cpu][4] = 0x0000_8900_0000_0067 | (task & 0xff_ffff) << 16 | (task >> 24 & 0xff) << 56;
        SEGMENTS[cpu][5] = task >> 32;
        let segments = Pointer { limit: 47, base: (&raw const SEGMENTS[cpu]).addr() as u64 };
        let vectors = Pointer { limit: 4095, base: (&raw const VECTORS).addr() as u64 };
        asm!("lgdt [{}]", in(reg) &raw const segments, options(nostack));
        asm!("ltr {:x}", in(reg) TASK, options(nostack));
        asm!("lidt [{}]", in(reg) &raw const vectors, options(nostack));
    }
}

fn vectors() {
    macro_rules! faults {
        ($($vector:literal $error:literal),*) => { $(set($vector, fault::<$vector, $error> as *const () as u64, 0);)* };
    }
    // Whether the CPU pushes an error code: SDM vol. 3, table 6-1.
    faults!(0 false, 1 false, 4 false, 5 false, 6 false, 7 false, 9 false, 10 true, 11 true, 12 true, 13 true, 14 true);
    faults!(16 false, 17 true, 18 false, 19 false, 20 false, 21 true, 28 false, 29 true, 30 true);
    set(2, nmi::entry as *const () as u64, 1);
    set(3, breakpoint_entry as *const () as u64, 0);
    set(8, fault::<8, true> as *const () as u64, 2);
    set(ipi::VECTOR, interrupt_entry as *const () as u64, 0);
    set(ipi::SPURIOUS_VECTOR, spurious as *const () as u64, 0);
}

fn set(vector: u8, entry: u64, ist: u64) {
    let low = entry & 0xffff | u64::from(CODE) << 16 | ist << 32 | GATE << 32 | (entry >> 16 & 0xffff) << 48;
    // SAFETY: before the table is loaded, by one CPU.
    unsafe { VECTORS[usize::from(vector)] = [low, entry >> 32] };
}

trap_entry!(breakpoint_entry, on_breakpoint);
// The same for interrupts, which have no need of the gap.
trap_entry!(interrupt_entry, ipi::on_interrupt);

extern "sysv64" fn on_breakpoint(saved: &mut Saved) {
    if !crate::engine::on_trap(smp::this(), saved) {
        panic!("a breakpoint of nobody on CPU {}: {saved:#x?}", smp::this());
    }
}

// SAFETY: nothing to restore.
#[unsafe(naked)]
unsafe extern "C" fn spurious() {
    naked_asm!("iretq")
}

#[repr(C)]
struct Fault {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
}

// SAFETY: it does not return.
#[unsafe(naked)]
unsafe extern "C" fn fault<const VECTOR: u8, const ERROR: bool>() {
    naked_asm!(
        ".if {error} == 0",
        "push 0",
        ".endif",
        "push {vector}",
        "mov rdi, rsp",
        "and rsp, -16",
        "call {handler}",
        error = const ERROR as u8,
        vector = const VECTOR,
        handler = sym on_fault,
    )
}

extern "sysv64" fn on_fault(fault: &Fault) -> ! {
    let address: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nostack, preserves_flags)) };
    let Fault { vector, error, rip, cs, rflags, rsp } = fault;
    panic!(
        "CPU {}: exception {vector}, error {error:#x}, RIP {rip:#x}, CS {cs:#x}, flags {rflags:#x}, RSP {rsp:#x}, CR2 \
         {address:#x}",
        smp::this()
    );
}
