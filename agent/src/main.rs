//! What textpoke runs inside a traced process: the probes, the trap handler, and the sidecar that performs plans.
//!
//! The image is mapped read-only and executable, has no writable data and knows where everything is from one page of
//! [parameters](params) that the tracer fills in. It allocates nothing, calls no library and makes few system calls.
//!
//! What differs between instruction sets is one folder each, with the same files: the probe (every traced event passes
//! there), the first instructions of the others, and what compilers call without being asked.
//!
//! Reading order: `arch/*/probe.rs`, [`params`], [`trap`], [`sidecar`], [`machine`], [`orphan`].
#![no_std]
#![no_main]

#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64/mod.rs")]
#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64/mod.rs")]
#[cfg_attr(target_arch = "riscv64", path = "arch/riscv64/mod.rs")]
mod arch;
mod machine;
mod orphan;
mod params;
mod sidecar;
mod talk;
mod trap;

/// A panic is a bug in the agent. It ends the sidecar, never the target: probes are assembly and do not panic, and the trap
/// handler has no operation that can.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    textpoke_linux::sys::exit_group(101)
}
