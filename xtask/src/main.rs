//! Project automation. `cargo xtask ci` is literally what CI runs.

mod ci;
mod cross;
mod fence;
mod graph;
mod guest;
mod install;
mod isas;
mod licences;
mod nostd;
mod qemu;
mod setup;
mod source;
mod steps;
mod tools;
mod workspace;

use std::process::ExitCode;
use steps::Steps;
use workspace::Workspace;

const HELP: &str = "\
cargo xtask COMMAND

  ci [--full]   everything CI runs; --full: with the long stress runs too
  agent         format, lints and tests of the agent, which is a workspace of its own
  bench keys    what switches cost, off and while they are turned, as ratios within one run
  bench trace   what a traced call costs, as ratios within one run
  fence         where unsafe code may be, lints, machine paths, unfinished work, file lengths
  graph         the arrows between the crates
  guest ARCH [--file PATH[=PLACE]]... -- COMMAND [++ COMMAND]...
                boots a kernel for arm64 or riscv64 in QEMU with these files (in /bin) and runs the commands there
  guest trace   attaches, records and detaches in guests, and compares with this machine
  install-c --prefix DIR [--destdir DIR] [--profile NAME]
                header, static and shared library and pkg-config file for C and C++; builds the profile `release`
  isas          the engine built for AArch64 and RISC-V, and tested under QEMU, where setup has installed both
  licences      what the dependencies are licensed under, against deny.toml
  mutate        the checker must find a counterexample to each protocol that lacks a step, or has two swapped
  nostd         the no_std crates really link without std and alloc
  qemu [--isa ISA] [--short] [--patience SECONDS] [--cpus N --ask \"NAME=VALUE ...\"]
                builds the test kernels and boots each in QEMU with 2 and with 4 CPUs; --short: in a minute;
                --ask: one run, for example of tests=nmi,control; who is silent for longer than --patience hangs
  setup         install what some tests and other targets need (Debian, as root); harmless to repeat";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = Workspace::find().and_then(|workspace| run(&workspace, &words));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(workspace: &Workspace, words: &[&str]) -> Result<(), String> {
    match words {
        ["ci"] => ci::run(workspace, false),
        ["ci", "--full"] => ci::run(workspace, true),
        ["agent"] => {
            let mut steps = Steps::new(workspace);
            ci::agent(workspace, &mut steps);
            steps.finish()
        }
        ["bench", "keys"] => tools::bench_keys(workspace),
        ["bench", "trace"] => tools::bench_trace(workspace),
        ["fence"] => fence::run(workspace),
        ["graph"] => graph::run(workspace),
        ["guest", "trace"] => guest::trace::all(workspace),
        ["guest", words @ ..] => guest::command(workspace, words),
        ["install-c", words @ ..] => install::run(workspace, words),
        ["isas"] => isas::run(workspace),
        ["licences"] => licences::run(workspace),
        ["mutate"] => tools::mutate(workspace),
        ["nostd"] => nostd::run(workspace),
        ["qemu", words @ ..] => qemu::command(workspace, words),
        ["setup"] => setup::run(),
        [] | ["--help" | "-h" | "help"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(format!("unknown command `{}`\n\n{HELP}", words.join(" "))),
    }
}
