//! Keys of running processes, flipped from outside.
#![allow(unsafe_code, reason = "tests kill processes")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use textpoke_attach::keys::{self, Flipped, Operation, Wanted, Way};
use textpoke_attach::{Error, proc};

#[path = "../../../agent/embed.rs"]
mod embed;

/// What `repair` takes along, built once per test run.
fn agent() -> &'static [u8] {
    static AGENT: OnceLock<Vec<u8>> = OnceLock::new();
    AGENT.get_or_init(|| {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent");
        let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("agent");
        std::fs::read(embed::build(env!("CARGO").as_ref(), None, &source, &target)).unwrap()
    })
}

/// The program that is flipped.
struct Target {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Target {
    fn start(arguments: &[&str]) -> Self {
        let mut program: PathBuf = std::env::current_exe().unwrap();
        program.pop();
        program.pop();
        program.push("examples/keys_storm");
        let mut child =
            Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut target = Self { child, to, from };
        assert_eq!(target.line(), "ready");
        target
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the target ended: {:?}", self.child.try_wait());
        line.trim().to_owned()
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.to, "{question}").unwrap();
        self.line()
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Ends it and answers whether all was well.
    fn finish(mut self) {
        drop(self.to);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

fn wanted(pid: i32, name: &str, op: Operation) -> Wanted {
    let tables = keys::read(pid).unwrap();
    assert_eq!(tables.faults, [] as [String; 0]);
    let key = tables.keys.iter().find(|key| key.full_name() == format!("keys_storm::{name}"));
    Wanted { at: key.unwrap_or_else(|| panic!("no {name}")).at, name: format!("keys_storm::{name}"), op }
}

/// What answers traps is built for those who need it.
fn ways() -> [Way<'static>; 2] {
    [Way::Word, Way::Traps(agent())]
}

fn flip(pid: i32, name: &str, op: Operation) -> Flipped {
    flip_by(Way::Word, pid, name, op)
}

fn flip_by(way: Way<'_>, pid: i32, name: &str, op: Operation) -> Flipped {
    keys::flip(pid, &[wanted(pid, name, op)], way).unwrap_or_else(|e| panic!("{name} {op:?}: {e}")).remove(0)
}

const START: &str = "00110001 100 1099511627776";

#[test]
fn every_thread_sees_each_flip_once_it_is_done() {
    for (arguments, way) in [&["3"][..], &["2", "block"], &["0"]].into_iter().flat_map(|a| ways().map(|way| (a, way))) {
        let mut target = Target::start(arguments);
        let pid = target.pid();
        assert_eq!(target.ask("see"), START.replace("00110001", "00110000"), "{arguments:?}");
        let steps = [
            ("A", Operation::Enable, "11110000 100 1099511627776", 2),
            ("B", Operation::Disable, "11000000 100 1099511627776", 2),
            ("MANY[3]", Operation::Inc, "11000001 100 1099511627776", 1),
            ("MANY[3]", Operation::Inc, "11000001 100 1099511627776", 0),
            ("MANY[3]", Operation::Dec, "11000001 100 1099511627776", 0),
            ("A", Operation::Enable, "11000001 100 1099511627776", 0),
            ("A", Operation::Disable, "00000001 100 1099511627776", 2),
            ("LIMIT", Operation::Set(0xff00_ff00), "00000001 4278255360 1099511627776", 1),
            ("WIDE", Operation::Set(0xffff_0000_ffff_0000), "00000001 4278255360 18446462603027742720", 1),
            ("MANY[3]", Operation::Dec, "00000000 4278255360 18446462603027742720", 1),
        ];
        for (name, op, view, sites) in steps {
            // Eight bytes cannot be trapped.
            let way = if name == "WIDE" { Way::Word } else { way };
            assert_eq!(flip_by(way, pid, name, op).sites, sites, "{name} {op:?}");
            assert_eq!(target.ask("see"), view, "{arguments:?} {name} {op:?}");
        }
        let maps = proc::maps(pid).unwrap();
        let writable = |m: &&proc::Mapping| m.prot & libc::PROT_WRITE != 0 && m.prot & libc::PROT_EXEC != 0;
        assert_eq!(maps.iter().find(writable), None, "no text stays writable");
        assert!(!maps.iter().any(|m| (0x6e00_0000_0000..0x6f00_0000_0000).contains(&m.start)), "nothing of ours stays");
        target.finish();
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut target = Target::start(&["1"]);
    let pid = target.pid();
    let before = target.ask("see");
    let wide = [wanted(pid, "A", Operation::Enable), wanted(pid, "WIDE", Operation::Set(3))];
    let refused = keys::flip(pid, &wide, Way::Traps(agent())).unwrap_err().to_string();
    assert!(refused.contains("--protocol word"), "{refused}");
    assert_eq!(target.ask("see"), before);
    for (name, op) in [
        ("A", Operation::Dec),
        ("A", Operation::Set(1)),
        ("LIMIT", Operation::Enable),
        ("LIMIT", Operation::Set(1 << 32)),
    ] {
        let refused = keys::flip(pid, &[wanted(pid, "MANY[0]", Operation::Enable), wanted(pid, name, op)], Way::Word);
        assert!(matches!(refused, Err(Error::Damaged(_))), "{name} {op:?}: {refused:?}");
        assert_eq!(target.ask("see"), before);
    }
    assert!(matches!(keys::read(0x3fff_fff0), Err(Error::NoSuchProcess(_))));
    target.finish();
}

/// Threads execute the sites, others flip the same keys by the library, and others do from outside.
#[test]
fn the_programs_flips_and_ours_exclude_each_other() {
    for way in ways() {
        let flip = |pid, name, op| flip_by(way, pid, name, op);
        let mut target = Target::start(&["2"]);
        let pid = target.pid();
        target.ask("storm 8");
        let start = Instant::now();
        let mut flips = 0;
        while start.elapsed() < Duration::from_secs(5) {
            for (name, op) in [("A", Operation::Inc), ("MANY[1]", Operation::Inc), ("MANY[2]", Operation::Enable)] {
                flip(pid, name, op);
            }
            // While we have them on they are on, whatever the others do.
            for view in target.ask("see").split(" | ") {
                assert!(view.starts_with("1111011"), "{view}");
            }
            for (name, op) in [("A", Operation::Dec), ("MANY[1]", Operation::Dec), ("MANY[2]", Operation::Disable)] {
                flip(pid, name, op);
            }
            flips += 6;
        }
        let calm = target.ask("calm");
        println!("{flips} flips from outside; {calm}");
        assert_eq!(target.ask("see"), "00110000 100 1099511627776");
        assert!(keys::read(pid).unwrap().keys.iter().all(|key| u64::from(key.count) == key.value || key.width > 1));
        target.finish();
    }
}

#[test]
fn nobody_who_sleeps_is_interrupted() {
    let mut target = Target::start(&["1"]);
    let pid = target.pid();
    target.ask("sleep");
    std::thread::sleep(Duration::from_millis(50));
    for way in ways() {
        for _ in 0..10 {
            flip_by(way, pid, "A", Operation::Enable);
            flip_by(way, pid, "A", Operation::Disable);
        }
    }
    assert_eq!(target.ask("awake"), "0 flips 0 interrupted");
    target.finish();
}

#[test]
fn a_fork_child_has_keys_of_its_own() {
    let mut target = Target::start(&["0"]);
    let pid = target.pid();
    flip(pid, "A", Operation::Enable);
    let child: i32 = target.ask("fork").parse().unwrap();
    assert_eq!(target.ask("child"), "11110000 100 1099511627776");
    flip(pid, "B", Operation::Disable);
    assert_eq!(target.ask("child"), "11110000 100 1099511627776");
    flip(child, "A", Operation::Disable);
    flip(child, "MANY[0]", Operation::Enable);
    assert_eq!(target.ask("child"), "00111000 100 1099511627776");
    assert_eq!(target.ask("see"), "11000000 100 1099511627776");
    target.finish();
}

/// Run by the next test in a process of its own, which is killed.
#[test]
fn a_tool_that_will_be_killed() {
    let Ok(pid) = std::env::var("TEXTPOKE_TEST_FLIPS") else { return };
    let pid = pid.parse().unwrap();
    let all = |branch, number, wide| {
        let many = (0..4).map(|i| wanted(pid, &format!("MANY[{i}]"), branch));
        let others = [
            wanted(pid, "A", branch),
            wanted(pid, "LIMIT", Operation::Set(number)),
            wanted(pid, "WIDE", Operation::Set(wide)),
        ];
        many.chain(others).collect::<Vec<_>>()
    };
    let by_traps = std::env::var_os("TEXTPOKE_TEST_TRAPS").is_some();
    let way = if by_traps { Way::Traps(agent()) } else { Way::Word };
    // Eight bytes cannot be trapped.
    let most = if by_traps { 6 } else { 7 };
    if std::env::var_os("TEXTPOKE_TEST_ONCE").is_some() {
        let off = keys::read(pid).unwrap().keys.iter().any(|key| key.name.ends_with("::A") && key.value == 0);
        let (branch, number, wide) = if off { (Operation::Enable, 500, 3) } else { (Operation::Disable, 100, 1 << 40) };
        keys::flip(pid, &all(branch, number, wide)[..most], way).unwrap();
        return;
    }
    println!("flipping");
    loop {
        keys::flip(pid, &all(Operation::Enable, 500, 3)[..most], way).unwrap();
        keys::flip(pid, &all(Operation::Disable, 100, 1 << 40)[..most], way).unwrap();
    }
}

#[test]
fn the_target_outlives_a_killed_tool_and_the_next_flip_puts_things_in_order() {
    kill_tools(false);
}

#[test]
fn the_target_outlives_a_tool_that_is_killed_while_its_traps_are_in_the_code() {
    kill_tools(true);
}

fn left_behind(pid: i32) -> bool {
    proc::maps(pid).unwrap().iter().any(|m| (0x6e00_0000_0000..0x6f00_0000_0000).contains(&m.start))
}

/// Not at moments, but at each step: the tool is killed when it makes the nth call.
#[test]
fn the_target_outlives_a_tool_that_is_killed_at_any_step() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("left out: there is no strace");
        return;
    }
    for (by_traps, call, step) in [(false, "ptrace", 3), (false, "pwrite64", 1), (true, "ptrace", 11)] {
        let mut target = Target::start(&["1"]);
        let pid = target.pid();
        let mut in_the_middle = 0;
        let mut nth = 1;
        loop {
            let status = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e"])
                .arg(format!("trace={call}"))
                .arg("-e")
                .arg(format!("inject={call}:signal=KILL:when={nth}"))
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "a_tool_that_will_be_killed", "--nocapture"])
                .env("TEXTPOKE_TEST_FLIPS", pid.to_string())
                .env("TEXTPOKE_TEST_ONCE", "1")
                .envs(by_traps.then_some(("TEXTPOKE_TEST_TRAPS", "1")))
                .stdout(Stdio::null())
                .status()
                .unwrap();
            if status.success() {
                break;
            }
            in_the_middle += u32::from(left_behind(pid));
            // All of them or none, once somebody has put things in order.
            if by_traps || nth % 2 == 0 {
                textpoke_attach::repair::repair(pid, agent()).unwrap_or_else(|e| panic!("{call} {nth}: {e}"));
            }
            flip(pid, "MANY[0]", Operation::Enable);
            flip(pid, "MANY[0]", Operation::Disable);
            let tables = keys::read(pid).unwrap();
            let value = |name: &str| {
                tables.keys.iter().find(|key| key.full_name() == format!("keys_storm::{name}")).unwrap().value
            };
            let views = ["A", "A", "B", "B", "MANY[0]", "MANY[1]", "MANY[2]", "MANY[3]"];
            let bits: String = views.map(|name| value(name).to_string()).concat();
            let published = format!("{bits} {} {}", value("LIMIT"), value("WIDE"));
            assert_eq!(target.ask("see"), published, "{call} {nth}, traps {by_traps}");
            let counted = tables.keys.iter().all(|key| key.width > 1 || u64::from(key.count) == key.value);
            assert!(counted, "{call} {nth}, traps {by_traps}");
            assert!(!left_behind(pid), "{call} {nth}: what the killed one left is gone");
            nth += step;
        }
        println!("{call}, traps {by_traps}: {nth} calls, {in_the_middle} kills left something");
        assert!(in_the_middle > 3);
        target.finish();
    }
}

fn kill_tools(by_traps: bool) {
    let mut target = Target::start(&["2"]);
    let pid = target.pid();
    agent();
    let mut in_the_middle = 0;
    for round in 0u64..60 {
        let mut tool = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_tool_that_will_be_killed", "--nocapture"])
            .env("TEXTPOKE_TEST_FLIPS", pid.to_string())
            .envs(by_traps.then_some(("TEXTPOKE_TEST_TRAPS", "1")))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(tool.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.is_ok_and(|line| line.contains("flipping"))));
        std::thread::sleep(Duration::from_micros(round * 7919 % 60_000));
        tool.kill().unwrap();
        tool.wait().unwrap();
        in_the_middle += u32::from(left_behind(pid));
        match round % 3 {
            // While the sidecar ends what was begun nobody else comes near.
            _ if by_traps && round % 3 == 2 => {
                textpoke_attach::repair::repair(pid, agent()).unwrap();
            }
            // From inside.
            0 => {
                target.ask("storm 2");
                std::thread::sleep(Duration::from_millis(60));
                target.ask("calm");
            }
            1 => {
                textpoke_attach::repair::repair(pid, agent()).unwrap();
                assert!(!left_behind(pid), "round {round}: repair gives everything back");
            }
            _ => {}
        }
        // From outside. Whatever was on goes off, and all are what their keys say.
        for name in ["A", "MANY[0]", "MANY[1]", "MANY[2]", "MANY[3]"] {
            flip(pid, name, Operation::Disable);
        }
        flip(pid, "LIMIT", Operation::Set(100));
        flip(pid, "WIDE", Operation::Set(1 << 40));
        assert_eq!(target.ask("see"), "00110000 100 1099511627776", "round {round}");
        if by_traps {
            // The flips have not touched what is a recording's or its like.
            textpoke_attach::repair::repair(pid, agent()).unwrap();
            assert_eq!(target.ask("see"), "00110000 100 1099511627776", "round {round}, repaired");
        }
        assert!(!left_behind(pid), "round {round}: what the killed one left is gone");
    }
    println!("killed in the middle: {in_the_middle} of 60");
    target.finish();
}
