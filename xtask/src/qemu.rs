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
    /// As the table has it.
    pub name: &'static str,
    /// As the command line has it, and the folder in `kernel/src/arch`.
    pub isa: &'static str,
    /// What it is built for.
    pub target: Target,
    /// What the compiler is told about the functions that are traced: how they begin.
    pub entries: &'static [&'static str],
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
    /// Kernels that are examples, booted on two CPUs.
    pub examples: &'static [&'static str],
}

const MACHINES: &[Machine] = &[
    Machine {
        name: "x86_64",
        isa: "x86_64",
        target: cross::X86_64_BARE,
        entries: &["-Z", "patchable-function-entry=5"],
        program: "qemu-system-x86_64",
        args: &["-M", "q35", "-cpu", "max", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
        parameters: 0x100_0000,
        good: 33,
        nmi: true,
        examples: &["first_key"],
    },
    Machine {
        name: "aarch64, FEAT_NMI",
        args: &["-M", "virt,gic-version=3", "-cpu", "max", "-semihosting-config", "enable=on,target=native"],
        ..AARCH64
    },
    Machine {
        name: "aarch64, NMIs by priority",
        args: &["-M", "virt,gic-version=3", "-cpu", "neoverse-n1", "-semihosting-config", "enable=on,target=native"],
        ..AARCH64
    },
    Machine {
        name: "riscv64, NMIs by software events",
        isa: "riscv64",
        target: cross::RISCV64_BARE,
        // Two NOPs of four bytes: instructions of two bytes cannot become one of four while somebody may execute them.
        entries: &["-Z", "patchable-function-entry=2", "-C", "target-feature=-c,-zca"],
        program: "qemu-system-riscv64",
        args: &["-M", "virt", "-cpu", "rv64"],
        parameters: 0x8120_0000,
        good: 33,
        nmi: false,
        examples: &[],
    },
];

const AARCH64: Machine = Machine {
    name: "aarch64",
    isa: "aarch64",
    target: cross::AARCH64_SOFT_BARE,
    entries: &["-Z", "patchable-function-entry=2"],
    program: "qemu-system-aarch64",
    args: &[],
    parameters: 0x4120_0000,
    good: 33,
    nmi: false,
    examples: &[],
};

/// CPUs, and what the kernel is asked for.
type Runs = [(u32, &'static str)];

/// Emulated CPUs slow each other down, hence fewer rounds where there are more of them.
const FULL: &Runs = &[(2, "rounds=100000 batches=400"), (4, "rounds=2000 batches=200")];
const SHORT: &Runs =
    &[(2, "rounds=2000 batches=50 control=40"), (4, "rounds=100 batches=20 tests=early,online,nmi,rounds")];

/// Silence after which a kernel is said to hang, in seconds. Long, because emulated CPUs that wait for each other get on
/// slowly where many programs want the real ones: ten rounds a second were seen.
const PATIENCE: u64 = 600;

/// What the command line asks for.
struct Wanted {
    isa: Option<String>,
    short: bool,
    /// Instead of the lists of runs.
    ask: Option<(u32, String)>,
    patience: Duration,
}

impl Wanted {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut wanted = Self { isa: None, short: false, ask: None, patience: Duration::from_secs(PATIENCE) };
        let mut cpus = 2;
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
            let number = |text: &str| text.parse().map_err(|_| format!("{word} {text}: a number is expected"));
            match word {
                "--short" => wanted.short = true,
                "--isa" => wanted.isa = Some(value()?.to_owned()),
                "--ask" => wanted.ask = Some((cpus, value()?.to_owned())),
                "--cpus" => cpus = number(value()?)?,
                "--patience" => wanted.patience = Duration::from_secs(u64::from(number(value()?)?)),
                _ => return Err(format!("qemu does not know `{word}`; see cargo xtask help")),
            }
        }
        if let Some((asked, _)) = &mut wanted.ask {
            *asked = cpus;
        }
        Ok(wanted)
    }

    /// The runs of the kernel with the tests.
    fn runs(&self) -> Vec<(u32, String)> {
        match &self.ask {
            Some(ask) => vec![ask.clone()],
            None => {
                (if self.short { SHORT } else { FULL }).iter().map(|(n, words)| (*n, (*words).to_owned())).collect()
            }
        }
    }
}

/// `cargo xtask qemu`.
pub fn command(workspace: &Workspace, words: &[&str]) -> Result<(), String> {
    let wanted = Wanted::parse(words)?;
    let machines: Vec<&Machine> =
        MACHINES.iter().filter(|machine| wanted.isa.as_ref().is_none_or(|isa| isa == machine.isa)).collect();
    if machines.is_empty() {
        let mut known: Vec<&str> = MACHINES.iter().map(|machine| machine.isa).collect();
        known.dedup();
        return Err(format!("no test kernel for `{}`; there are {}", wanted.isa.unwrap_or_default(), known.join(", ")));
    }
    match machines.iter().find_map(|machine| lacks(machine)) {
        Some(reason) => Err(reason),
        None => run(workspace, &machines, &wanted),
    }
}

/// As a part of CI: the short runs, of what this machine can run.
pub fn ci(workspace: &Workspace) -> Result<(), String> {
    let (able, unable): (Vec<&Machine>, Vec<&Machine>) = MACHINES.iter().partition(|machine| lacks(machine).is_none());
    for reason in unable.iter().filter_map(|machine| lacks(machine)) {
        println!("qemu: left out: {reason}");
    }
    run(workspace, &able, &Wanted::parse(&["--short"])?)
}

/// Why this machine cannot run a kernel.
fn lacks(machine: &Machine) -> Option<String> {
    if !cross::in_path(machine.program) {
        return Some(format!("{}: no {} here; `cargo xtask setup` installs it", machine.isa, machine.program));
    }
    image::toolchain(machine).err().map(|reason| format!("{}: {reason}", machine.isa))
}

fn run(workspace: &Workspace, machines: &[&Machine], wanted: &Wanted) -> Result<(), String> {
    let mut table = Table::default();
    for machine in machines {
        let image = image::build(workspace, machine, &["--bin", "textpoke-kernel"])?;
        for (cpus, words) in wanted.runs() {
            let name = format!("{} with {cpus} CPUs", machine.name);
            table.add(name, || boot::run(workspace, machine, &image, cpus, &words, wanted.patience))?;
        }
        for example in machine.examples.iter().filter(|_| wanted.ask.is_none()) {
            let image = image::build(workspace, machine, &["--example", example])?;
            let name = format!("{} {example}", machine.name);
            table.add(name, || boot::run(workspace, machine, &image, 2, "", wanted.patience))?;
        }
    }
    table.finish()
}

/// What the runs saw.
#[derive(Default)]
struct Table {
    lines: Vec<String>,
    failed: Vec<String>,
}

impl Table {
    fn add(&mut self, name: String, run: impl FnOnce() -> Result<boot::Log, String>) -> Result<(), String> {
        println!("qemu: {name}");
        let start = Instant::now();
        let log = run()?;
        let verdict = match log.ended {
            Ended::Good => "good".to_owned(),
            Ended::Bad(why) => {
                self.failed.push(name.clone());
                why
            }
        };
        self.lines.push(format!("{name}, {:.0} s: {verdict}", start.elapsed().as_secs_f64()));
        self.lines.extend(log.rows.iter().map(|row| format!("    {row}")));
        Ok(())
    }

    fn finish(self) -> Result<(), String> {
        println!("\n{}", self.lines.join("\n"));
        println!(
            "(Emulated CPUs: these are about sequences of steps. What a CPU may fetch is for the checker and litmus runs.)"
        );
        if self.failed.is_empty() { Ok(()) } else { Err(format!("qemu: failed: {}", self.failed.join(", "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_replaces_the_lists() {
        let wanted = Wanted::parse(&["--ask", "tests=nmi", "--cpus", "4", "--patience", "7"]).unwrap();
        assert_eq!(wanted.runs(), [(4, "tests=nmi".to_owned())]);
        assert_eq!(wanted.patience, Duration::from_secs(7));
        let short = Wanted::parse(&["--short", "--isa", "x86_64"]).unwrap();
        assert_eq!((short.runs().len(), short.isa.as_deref()), (SHORT.len(), Some("x86_64")));
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        for (words, complaint) in [
            (&["--long"][..], "does not know"),
            (&["--isa"], "needs a value"),
            (&["--cpus", "many"], "a number is expected"),
        ] {
            assert!(Wanted::parse(words).err().unwrap().contains(complaint), "{words:?}");
        }
        let workspace = Workspace::find().unwrap();
        assert!(command(&workspace, &["--isa", "vax"]).unwrap_err().contains("there are x86_64"));
    }
}
