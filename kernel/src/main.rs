//! The part of the test kernel that may be patched: the tests. Each function begins with a NOP that a tracer can turn into
//! a call.
#![no_std]
#![no_main]

mod tests;

use kernel::{parameters, println};

#[unsafe(no_mangle)]
fn kernel_early() {
    tests::early();
}

#[unsafe(no_mangle)]
fn kernel_main() {
    let cpus = parameters::number("cpus", 1) as usize;
    println!("textpoke test kernel, {cpus} CPUs");
    println!("row machine: {cpus} CPUs, NMIs are {}", kernel::arch::nmi::kind());
    if cpus > 1 {
        kernel::start_cpu(1);
    }
    tests::run();
    println!("end: good");
}
