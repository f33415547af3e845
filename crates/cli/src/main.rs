//! The `textpoke` program.

fn main() -> std::process::ExitCode {
    textpoke_cli::run()
}
