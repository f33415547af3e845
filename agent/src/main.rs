//! What textpoke runs inside a traced process: the probes, the trap handler, and the sidecar that performs plans.
//!
//! The image is mapped read-only and executable, has no writable data and knows where everything is from one page of
//! [parameters](params) that the tracer fills in. It allocates nothing, calls no library and makes few system calls.
//!
//! Reading order: [`probe`] (every traced event passes there), [`params`], [`trap`], [`sidecar`], [`machine`], [`orphan`].
#![no_std]
#![no_main]

mod machine;
mod mem;
mod orphan;
mod params;
mod probe;
mod sidecar;
mod talk;
mod trap;

/// A panic is a bug in the agent. It ends the sidecar, never the target: probes are assembly and do not panic, and the trap
/// handler has no operation that can.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    textpoke_linux::sys::exit_group(101)
}
