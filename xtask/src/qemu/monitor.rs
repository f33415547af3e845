//! QEMU's monitor protocol: one JSON object a line, over a socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

pub struct Monitor {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Monitor {
    /// Connects; QEMU may not have made the socket yet.
    pub fn connect(path: &Path) -> Result<Self, String> {
        let mut last = String::new();
        for _ in 0..600 {
            match UnixStream::connect(path) {
                Ok(stream) => return Self::greet(stream),
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("QEMU's monitor does not answer: {last}"))
    }

    fn greet(stream: UnixStream) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("QEMU's monitor: {error}");
        stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(failed)?;
        let reader = BufReader::new(stream.try_clone().map_err(failed)?);
        let mut monitor = Self { reader, writer: stream };
        monitor.read()?;
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    fn read(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Err("QEMU's monitor: it has ended".into()),
            Ok(_) => serde_json::from_str(&line).map_err(|error| format!("QEMU's monitor: {error}: {line}")),
            Err(error) => Err(format!("QEMU's monitor: {error}")),
        }
    }

    /// Executes a command and returns what it answers.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.writer.write_all(line.as_bytes()).map_err(|error| format!("QEMU's monitor: {error}"))?;
        loop {
            let answer = self.read()?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                return Err(format!("QEMU's monitor: {command}: {error}"));
            }
            // Anything else is an event.
        }
    }

    /// The registers of all CPUs, as text.
    pub fn registers(&mut self) -> Result<String, String> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": "info registers -a" }))?;
        Ok(answer.as_str().unwrap_or_default().replace('\r', ""))
    }

    /// An NMI for every CPU.
    pub fn nmi(&mut self) -> Result<(), String> {
        self.execute("inject-nmi", json!({})).map(drop)
    }
}
