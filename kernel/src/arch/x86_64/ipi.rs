//! The local APIC: interrupts from CPU to CPU.

use core::sync::atomic::{AtomicU64, Ordering};

use textpoke_bare::x86_64::Saved;

/// Where the local APIC's registers are.
const APIC: u64 = 0xfee0_0000;
const SPURIOUS: u64 = 0xf0;
const EOI: u64 = 0xb0;
const COMMAND: u64 = 0x300;
const COMMAND_TO: u64 = 0x310;
const LINT0: u64 = 0x350;
const LINT1: u64 = 0x360;
const MASKED: u32 = 1 << 16;

/// The vector of our interrupt.
pub const VECTOR: u8 = 0xe0;
/// The vector of an interrupt that went away.
pub const SPURIOUS_VECTOR: u8 = 0xff;

static SENT: AtomicU64 = AtomicU64::new(0);

fn read(register: u64) -> u32 {
    // SAFETY: mapped by `boot`, for good.
    unsafe { ((APIC + register) as *const u32).read_volatile() }
}

fn write(register: u64, value: u32) {
    // SAFETY: as above; what the commands do is said where they are.
    unsafe { ((APIC + register) as *mut u32).write_volatile(value) }
}

/// Switches this CPU's on, and what the firmware left on, off. QEMU's monitor sends NMIs by LINT1.
pub fn enable() {
    // SAFETY: masks all lines of the two old interrupt controllers.
    unsafe {
        super::outb(0x21, 0xff);
        super::outb(0xa1, 0xff);
    }
    write(LINT0, MASKED);
    write(SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
    write(LINT1, 0x400);
}

fn command(cpu: usize, command: u32) {
    let on = super::interrupts_off();
    // An NMI may come in between the two stores and send something itself: it leaves the first as it was.
    let to = read(COMMAND_TO);
    while read(COMMAND) & 1 << 12 != 0 {
        core::hint::spin_loop();
    }
    write(COMMAND_TO, (cpu as u32) << 24);
    write(COMMAND, command);
    write(COMMAND_TO, to);
    super::interrupts_restore(on);
}

/// Interrupts a CPU.
pub fn send(cpu: usize) {
    SENT.fetch_add(1, Ordering::Relaxed);
    command(cpu, 0x4000 | u32::from(VECTOR));
}

/// Sends an NMI to a CPU, also to this one.
pub(super) fn send_nmi(cpu: usize) {
    command(cpu, 0x4400);
}

/// Resets a CPU; it waits for `startup`.
pub(super) fn init(cpu: usize) {
    command(cpu, 0xc500);
    command(cpu, 0x8500);
}

/// Lets it begin at a page below 1 MiB.
pub(super) fn startup(cpu: usize, page: u8) {
    command(cpu, 0x4600 | u32::from(page));
}

/// How many interrupts were sent by [`send`].
pub fn sent() -> u64 {
    SENT.load(Ordering::Relaxed)
}

/// The handler.
pub(super) extern "sysv64" fn on_interrupt(saved: &mut Saved) {
    write(EOI, 0);
    crate::engine::on_interrupt(super::smp::this(), saved.rip);
}
