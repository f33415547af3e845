//! The test kernels (`kernel/`), built and booted in QEMU, one per instruction set: a table of what each saw.
//!
//! Emulated CPUs run side by side, each in a thread of QEMU's. What they show is sequencing: traps, NMIs, interrupts that come
//! at any moment, CPUs that run while another patches. What no emulator shows is a CPU that fetched old bytes.

pub mod boot;
pub mod image;
pub mod monitor;

use std::time::{Duration, Instant};

use crate::cross::{self, Target};
use crate::workspace::Workspace;
use boot::Ended;

/// One kernel.
pub struct Machine {
    /// As the command line has it, and the folder in `kernel/src/arch`.
    pub isa: &'static str,
    /// What it is built for.
    pub target: Target,
    /// The emulator.
    pub program: &'static str,
    /// The machine, without memory, CPUs and what every run has.
    pub args: &'static [&'static str],
    /// Where the kernel looks for its parameters.
    pub parameters: u64,
    /// QEMU's exit status after the kernel's own good end.
    pub good: i32,
    /// Whether QEMU's monitor can send NMIs.
    pub nmi: bool,
}

const MACHINES: &[Machine] = &[Machine {
    isa: "x86_64",
    target: cross::X86_64_BARE,
    program: "qemu-system-x86_64",
    args: &["-M", "q35", "-cpu", "max", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
    parameters: 0x100_0000,
    good: 33,
    nmi: true,
}];

/// CPUs, and what the kernel is asked for.
type Runs = [(u32, &'static str)];

/// Emulated CPUs slow each other down, hence fewer rounds where there are more of them.
const FULL: &Runs = &[(2, "rounds=100000 batches=1000"), (4, "rounds=2000 batches=200")];
const SHORT: &Runs =
    &[(2, "rounds=2000 batches=50 control=200"), (4, "rounds=100 batches=20 tests=early,online,nmi,rounds")];

/// Silence after which a kernel is said to hang. A loaded machine has to do a tenth of the rounds meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);

/// `cargo xtask qemu`.
pub fn command(workspace: &Workspace, words: &[&str]) -> Result<(), String> {
    let (mut isa, mut short) = (None, false);
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--short" => short = true,
            "--isa" => isa = Some(*words.next().ok_or("--isa needs a name")?),
            _ => return Err(format!("qemu does not know `{word}`; it takes --isa ISA and --short")),
        }
    }
    let known = || MACHINES.iter().map(|machine| machine.isa).collect::<Vec<_>>().join(", ");
    let wanted: Vec<&Machine> = MACHINES.iter().filter(|machine| isa.is_none_or(|isa| isa == machine.isa)).collect();
    if wanted.is_empty() {
        return Err(format!("no test kernel for `{}`; there are {}", isa.unwrap_or_default(), known()));
    }
    if let Some(reason) = wanted.iter().find_map(|machine| lacks(machine)) {
        return Err(reason);
    }
    run(workspace, &wanted, short)
}

/// As a part of CI: the short runs, of what this machine can run.
pub fn ci(workspace: &Workspace) -> Result<(), String> {
    let (able, unable): (Vec<&Machine>, Vec<&Machine>) = MACHINES.iter().partition(|machine| lacks(machine).is_none());
    for reason in unable.iter().filter_map(|machine| lacks(machine)) {
        println!("qemu: left out: {reason}");
    }
    run(workspace, &able, true)
}

/// Why this machine cannot run a kernel.
fn lacks(machine: &Machine) -> Option<String> {
    if !cross::in_path(machine.program) {
        return Some(format!("{}: no {} here; `cargo xtask setup` installs it", machine.isa, machine.program));
    }
    image::toolchain(machine).err().map(|reason| format!("{}: {reason}", machine.isa))
}

fn run(workspace: &Workspace, machines: &[&Machine], short: bool) -> Result<(), String> {
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for machine in machines {
        let image = image::build(workspace, machine)?;
        for (cpus, words) in if short { SHORT } else { FULL } {
            let name = format!("{} with {cpus} CPUs", machine.isa);
            println!("qemu: {name}: {words}");
            let start = Instant::now();
            let log = boot::run(workspace, machine, &image, *cpus, words, PATIENCE)?;
            let verdict = match log.ended {
                Ended::Good => "good".into(),
                Ended::Bad(why) => {
                    failed.push(name.clone());
                    why
                }
            };
            let seconds = start.elapsed().as_secs_f64();
            rows.push((format!("{name}, {seconds:.0} s"), verdict));
            rows.extend(log.rows.into_iter().map(|row| (String::new(), row)));
        }
    }
    println!();
    for (what, row) in rows {
        println!("{}", if what.is_empty() { format!("    {row}") } else { format!("{what}: {row}") });
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("qemu: failed: {}", failed.join(", "))) }
}
