//! One run of a kernel.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::Machine;
use super::image::Image;
use super::monitor::Monitor;
use crate::workspace::Workspace;

/// How a run ended.
pub enum Ended {
    /// The kernel says so, and QEMU's exit status too.
    Good,
    /// Why not.
    Bad(String),
}

/// What a kernel told.
pub struct Log {
    /// What its tests saw.
    pub rows: Vec<String>,
    pub ended: Ended,
}

/// Ends QEMU and takes its files away, however this ends.
struct Running {
    child: Child,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Boots a kernel and follows what it prints to its end, or until it is silent for longer than `patience`.
pub fn run(
    workspace: &Workspace,
    machine: &Machine,
    image: &Image,
    cpus: u32,
    words: &str,
    patience: Duration,
) -> Result<Log, String> {
    let folder = workspace.root().join(format!("target/xtask/qemu/{}-{}", machine.isa, std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    let parameters = folder.join("parameters");
    let monitor = if machine.nmi { " monitor=yes" } else { "" };
    let mut text = format!("cpus={cpus} {words}{monitor}\n");
    for (addr, name) in &image.symbols {
        text.push_str(&format!("{addr:x} {name}\n"));
    }
    text.push('\0');
    std::fs::write(&parameters, text).map_err(|error| format!("cannot write {}: {error}", parameters.display()))?;
    // The path of a socket is at most 108 bytes long.
    let socket = std::env::temp_dir().join(format!("textpoke-qemu-{}", std::process::id()));
    let _ = std::fs::remove_file(&socket);

    let mut command = Command::new(machine.program);
    command.args(machine.args);
    command.args(["-m", "128M", "-smp", &cpus.to_string(), "-accel", "tcg,thread=multi", "-no-reboot"]);
    command.args(["-display", "none", "-serial", "stdio", "-monitor", "none"]);
    command.arg("-kernel").arg(&image.path);
    command.arg("-device").arg(format!(
        "loader,file={},addr={:#x},force-raw=on",
        parameters.display(),
        machine.parameters
    ));
    command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("cannot run {}: {error}", machine.program))?;
    let mut running = Running { child, folder };
    let lines = lines(&mut running.child)?;
    let mut monitor = Monitor::connect(&socket);
    let _ = std::fs::remove_file(&socket);
    Ok(follow(machine, image, &mut running.child, &lines, &mut monitor, patience))
}

fn lines(child: &mut Child) -> Result<Receiver<String>, String> {
    let output = child.stdout.take().ok_or("no pipe to QEMU")?;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if send.send(line).is_err() {
                break;
            }
        }
    });
    Ok(receive)
}

/// How often the monitor sends NMIs when the kernel wants some.
const NMI_EVERY: Duration = Duration::from_millis(20);

fn follow(
    machine: &Machine,
    image: &Image,
    child: &mut Child,
    lines: &Receiver<String>,
    monitor: &mut Result<Monitor, String>,
    patience: Duration,
) -> Log {
    let (mut rows, mut last, mut nmis) = (Vec::new(), String::new(), false);
    let mut heard = Instant::now();
    loop {
        match lines.recv_timeout(if nmis { NMI_EVERY } else { patience }) {
            Ok(line) => {
                println!("  {line}");
                heard = Instant::now();
                nmis = (nmis || line == "want NMIs") && line != "had NMIs";
                if let Some(row) = line.strip_prefix("row ") {
                    rows.push(row.to_owned());
                }
                if !line.is_empty() {
                    last = line;
                }
            }
            Err(RecvTimeoutError::Timeout) if heard.elapsed() < patience => {
                let sent = monitor.as_mut().map_err(|error| error.clone()).and_then(Monitor::nmi);
                if let Err(error) = sent {
                    return Log { rows, ended: Ended::Bad(error) };
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let where_ = monitor.as_mut().map_err(|error| error.clone()).and_then(Monitor::registers);
                println!("{}", where_.map_or_else(|error| error, |text| annotated(image, &text)));
                let ended = Ended::Bad(format!("silent for {} s behind `{last}`: a hang", patience.as_secs()));
                return Log { rows, ended };
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let ended = match child.wait() {
        Ok(status) if status.code() == Some(machine.good) && last == "end: good" => Ended::Good,
        Ok(status) => Ended::Bad(format!("{last} ({}: {status})", machine.program)),
        Err(error) => Ended::Bad(format!("{}: {error}", machine.program)),
    };
    Log { rows, ended }
}

/// Adds to each line with a program counter in which function that is, and leaves out what a kernel does not use.
fn annotated(image: &Image, registers: &str) -> String {
    let counter = |line: &str| {
        let (_, rest) = ["RIP=", "PC=", " pc "].iter().find_map(|name| line.split_once(name))?;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_hexdigit).collect();
        image.around(u64::from_str_radix(&digits, 16).ok()?)
    };
    let used = |line: &&str| !["XMM", "YMM", "FPR"].iter().any(|name| line.starts_with(name));
    let lines = registers.lines().filter(used).map(|line| match counter(line) {
        Some(name) => format!("{line}  <- in {name}"),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_counters_get_names() {
        let image = Image { path: PathBuf::new(), symbols: vec![(0x1000, "early".into()), (0x2000, "late".into())] };
        let text = annotated(
            &image,
            "CPU#0\nXMM00=1 RIP=1\nRIP=0000000000002010 RFL=0\n PC=0000000000001004 X00=1\n pc       1000",
        );
        let names: Vec<_> = text.lines().map(|line| line.rsplit_once("<- in ").map(|(_, name)| name)).collect();
        assert_eq!(names, [None, Some("late"), Some("early"), Some("early")]);
    }
}
