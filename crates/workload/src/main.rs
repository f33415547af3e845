//! The workload as a program of its own, for tests and benchmarks; `textpoke demo` bundles the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    textpoke_workload::main_from_args(&[], std::env::args_os().skip(1))
}
