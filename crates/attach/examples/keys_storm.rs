//! A program with keys, for the tests of flips from outside.
//!
//! `keys_storm THREADS [block]`: so many threads execute all its sites all the time, with every signal blocked if asked.
//! One line on standard input is one question:
//!
//! - `see`: what the threads see that look from now on; one view, or several if they do not agree
//! - `storm N`: N threads flip the keys themselves from now on; `calm`: no more, with how often they did
//! - `sleep`: threads sleep in several system calls from now on; `awake`: how many answered EINTR
//! - `fork`: a child is born; its number. `child`: what it sees
#![allow(unsafe_code, missing_docs, reason = "a program for tests")]

use std::hint::black_box;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

textpoke::static_key! {
    static A: bool = false;
    static B: bool = true;
    static MANY: [bool; 4] = false;
}
textpoke::static_imm! {
    static LIMIT: u32 = 100;
    static WIDE: u64 = 1 << 40;
}

static ASKED: AtomicU64 = AtomicU64::new(0);
static VIEWS: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());
static STORM: AtomicBool = AtomicBool::new(false);
static FLIPS: AtomicU64 = AtomicU64::new(0);
static ASLEEP: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
fn bits() -> (u32, u32, u64) {
    let branches = [
        textpoke::static_branch_unlikely!(A),
        textpoke::static_branch_likely!(A),
        textpoke::static_branch_unlikely!(B),
        textpoke::static_branch_likely!(B),
        textpoke::static_branch_unlikely!(MANY[0]),
        textpoke::static_branch_unlikely!(MANY[1]),
        textpoke::static_branch_unlikely!(MANY[2]),
        textpoke::static_branch_likely!(MANY[3]),
    ];
    let branches = branches.iter().fold(0, |bits, &b| bits << 1 | u32::from(b));
    (branches, textpoke::read_imm!(LIMIT), textpoke::read_imm!(WIDE))
}

fn view((branches, limit, wide): (u32, u32, u64)) -> String {
    format!("{branches:08b} {limit} {wide}")
}

fn work(number: usize) {
    loop {
        let asked = ASKED.load(SeqCst);
        let mut seen = bits();
        for _ in 0..1000 {
            seen = black_box(bits());
            // Mixtures of old and new bytes would be other numbers.
            if !matches!(seen.1, 100 | 500 | 0xff00_ff00)
                || !matches!(seen.2, 0x100_0000_0000 | 0xffff_0000_ffff_0000 | 3)
            {
                WRONG.fetch_add(1, SeqCst);
            }
        }
        let mut views = VIEWS.lock().unwrap();
        if views[number].0 < asked {
            views[number] = (asked, view(seen));
        }
    }
}

fn storm() {
    while STORM.load(SeqCst) {
        // Other threads, and others from outside, do the same.
        let flipped = [A.inc(), A.dec(), MANY[1].inc(), MANY[1].dec(), LIMIT.set(500), LIMIT.set(100)];
        FLIPS.fetch_add(flipped.iter().filter(|f| f.is_ok()).count() as u64, SeqCst);
        if let Some(error) = flipped.into_iter().find_map(Result::err) {
            eprintln!("a flip of the program's own failed: {error}");
            WRONG.fetch_add(1, SeqCst);
        }
    }
}

fn sleeper(kind: usize) {
    let mut pipe = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { libc::pipe(pipe.as_mut_ptr()) };
    while ASLEEP.load(SeqCst) {
        let short = libc::timespec { tv_sec: 0, tv_nsec: 300_000_000 };
        let mut event = libc::pollfd { fd: pipe[0], events: libc::POLLIN, revents: 0 };
        // SAFETY: each call gets valid memory of this frame.
        let done = unsafe {
            match kind % 4 {
                0 => libc::nanosleep(&short, std::ptr::null_mut()),
                1 => libc::poll(&mut event, 1, 300),
                2 => {
                    let queue = libc::epoll_create1(0);
                    let mut none = std::mem::zeroed();
                    let done = libc::epoll_wait(queue, &mut none, 1, 300);
                    let errno = *libc::__errno_location();
                    libc::close(queue);
                    *libc::__errno_location() = errno;
                    done
                }
                _ => {
                    let mut set = std::mem::zeroed();
                    libc::sigemptyset(&mut set);
                    libc::sigaddset(&mut set, libc::SIGUSR2);
                    libc::sigtimedwait(&set, std::ptr::null_mut(), &short)
                }
            }
        };
        if done == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) {
            INTERRUPTED.fetch_add(1, SeqCst);
        }
    }
    // SAFETY: ours.
    unsafe { (libc::close(pipe[0]), libc::close(pipe[1])) };
}

/// What the threads see from now on; all of them are asked.
fn see(threads: usize) -> String {
    if threads == 0 {
        return view(bits());
    }
    let asked = ASKED.fetch_add(1, SeqCst) + 1;
    loop {
        let views = VIEWS.lock().unwrap();
        if views.iter().all(|(at, _)| *at >= asked) {
            let mut all: Vec<&str> = views.iter().map(|(_, view)| view.as_str()).collect();
            all.sort_unstable();
            all.dedup();
            return all.join(" | ");
        }
        drop(views);
        std::thread::yield_now();
    }
}

/// A child that answers what it sees for each byte that it gets; its number, and the two descriptors.
fn fork() -> (i32, i32, i32) {
    let (mut ask, mut answer) = ([0; 2], [0; 2]);
    // SAFETY: the child uses what may be used behind a fork: memory of its own, read and write.
    unsafe {
        libc::pipe(ask.as_mut_ptr());
        libc::pipe(answer.as_mut_ptr());
        let child = libc::fork();
        if child == 0 {
            libc::close(ask[1]);
            let mut byte = [0u8];
            while libc::read(ask[0], byte.as_mut_ptr().cast(), 1) == 1 {
                let mut text = view(bits()).into_bytes();
                text.resize(100, b' ');
                libc::write(answer[1], text.as_ptr().cast(), text.len());
            }
            libc::_exit(0);
        }
        libc::close(ask[0]);
        (child, ask[1], answer[0])
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let threads: usize = arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    if arguments.iter().any(|a| a == "block") {
        // SAFETY: a set of this frame; threads inherit the mask.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
        }
    }
    VIEWS.lock().unwrap().resize(threads, (0, String::new()));
    for number in 0..threads {
        std::thread::spawn(move || work(number));
    }
    let mut helpers: Vec<std::thread::JoinHandle<()>> = Vec::new();
    let mut child = (0, -1, -1);
    println!("ready");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let mut words = line.split_whitespace();
        let answer = match words.next() {
            Some("see") => see(threads),
            Some("storm") => {
                STORM.store(true, SeqCst);
                let number = words.next().and_then(|n| n.parse().ok()).unwrap_or(1);
                helpers.extend((0..number).map(|_| std::thread::spawn(storm)));
                "stormy".into()
            }
            Some("sleep") => {
                ASLEEP.store(true, SeqCst);
                helpers.extend((0..8).map(|kind| std::thread::spawn(move || sleeper(kind))));
                "asleep".into()
            }
            Some("calm" | "awake") => {
                STORM.store(false, SeqCst);
                ASLEEP.store(false, SeqCst);
                helpers.drain(..).for_each(|helper| helper.join().unwrap());
                format!("{} flips {} interrupted", FLIPS.load(SeqCst), INTERRUPTED.load(SeqCst))
            }
            Some("fork") => {
                child = fork();
                child.0.to_string()
            }
            Some("child") => {
                let mut text = [0u8; 100];
                // SAFETY: memory of this frame.
                unsafe {
                    libc::write(child.1, [0u8].as_ptr().cast(), 1);
                    libc::read(child.2, text.as_mut_ptr().cast(), text.len());
                }
                String::from_utf8_lossy(&text).trim().to_owned()
            }
            _ => "what?".into(),
        };
        println!("{answer}");
        let _ = std::io::stdout().flush();
    }
    let wrong = WRONG.load(SeqCst);
    if wrong != 0 {
        eprintln!("{wrong} wrong");
    }
    std::process::exit(i32::from(wrong != 0));
}
