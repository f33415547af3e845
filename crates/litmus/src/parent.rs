//! The parent: one child after the other, and what became of them.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use textpoke_cpu::Vendor;
use textpoke_linux::sys;
use textpoke_model::Profile;

use crate::child::HUNG;
use crate::counts::Counts;
use crate::judge::{Cell, Opinion, Outcome, Table, opinion};
use crate::place::Place;
use crate::shared::Mapping;
use crate::spec::{Budget, Error, Options, Spec, Total};
use crate::variant::{VARIANTS, Variant};

/// How much later than it should a child may end before it is killed and its cell given up.
const GRACE: Duration = Duration::from_secs(30);
/// How many children of one cell may die before the cell counts as known.
const LIVES: u64 = 50;

/// Runs everything that was asked for. `progress` is told how many cells are done, how many there are, and which is next.
///
/// # Errors
/// When nothing can be run, or the control shows that what was run means nothing.
pub fn run(options: &Options, progress: &mut dyn FnMut(usize, usize, &str)) -> Result<Table, Error> {
    let start = Instant::now();
    let cells = cells(options)?;
    let (profile, mut notes) = book(options.profile);
    let cpus = cpus(options, &mut notes)?;
    let mut opinions: HashMap<(&str, u8), Opinion> = HashMap::new();
    let mut table = Table {
        cpu: cpuinfo("model name").unwrap_or_default(),
        vendor: cpuinfo("vendor_id").unwrap_or_default(),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
        profile,
        notes,
        cells: Vec::new(),
        seconds: 0.0,
        contradicted: false,
        complete: false,
    };
    for (i, &(variant, place)) in cells.iter().enumerate() {
        progress(i, cells.len(), variant.name);
        let known = opinions.entry((variant.name, place.cut()));
        let checker = known
            .or_insert_with(|| opinion(variant, place, profile).expect("a test sees to it that every check is there"))
            .clone();
        let budget = match options.budget {
            // Even one flip is enough.
            _ if variant.is_control() => Budget::UntilSeen { executions: 1000, flips: 1000 },
            Total::Time(nanos) => Budget::Time(nanos / cells.len() as u64),
            Total::UntilSeen { executions, flips } => Budget::UntilSeen { executions, flips },
        };
        let spec = Spec {
            variant: variant.name.into(),
            place,
            book: profile.into(),
            cpus,
            budget,
            parent: std::process::id(),
        };
        let (counts, refusal) = cell(options, &spec)?;
        let outcome = refusal.map_or_else(|| checker.on(&counts), Outcome::Skipped);
        if variant.is_control() && outcome != Outcome::FailedAsPredicted {
            return Err(Error::Blind(match outcome {
                Outcome::Skipped(why) => why,
                _ => format!("{} calls and {} flips, and nothing was seen", counts.executions, counts.flips),
            }));
        }
        let boundary = place.boundary().name();
        table.cells.push(Cell {
            variant: variant.name,
            ours: variant.is_ours(),
            place,
            boundary,
            counts,
            checker,
            outcome,
        });
    }
    progress(cells.len(), cells.len(), "");
    table.seconds = start.elapsed().as_secs_f64();
    table.conclude();
    Ok(table)
}

/// What to run, the control always first.
fn cells(options: &Options) -> Result<Vec<(&'static Variant, Place)>, Error> {
    if let Some(name) = options.names.iter().find(|name| Variant::find(name).is_none()) {
        return Err(Error::Unknown(name.clone()));
    }
    let wanted = |v: &&Variant| options.names.is_empty() || options.names.iter().any(|name| name == v.name);
    let mut cells = vec![(&VARIANTS[0], Place::INTERESTING[0])];
    for variant in VARIANTS.iter().filter(|v| !v.is_control()).filter(wanted) {
        cells.extend(options.places.iter().filter(|p| p.fits(variant.fits)).map(|&place| (variant, place)));
    }
    let only_control = options.names.iter().any(|name| name == VARIANTS[0].name);
    if cells.len() == 1 && !only_control { Err(Error::Nothing) } else { Ok(cells) }
}

/// By whose book to judge, and what to say about it.
fn book(asked: Option<Profile>) -> (Profile, Vec<String>) {
    let mut notes = Vec::new();
    let vendor = cpuinfo("vendor_id").unwrap_or_default();
    let own = if textpoke_cpu::vendor() == Vendor::Amd { Profile::Amd } else { Profile::Intel };
    match asked {
        Some(profile) if profile != own => {
            notes.push(format!("judged by {}'s book, as asked, although this CPU is of {vendor}", profile.name()));
        }
        None if own == Profile::Intel && vendor != "GenuineIntel" => {
            notes.push(format!("{vendor} is not known: judged by Intel's book, which promises the least"));
        }
        _ => {}
    }
    if cpuinfo("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")) {
        notes.push("a virtual machine: the CPUs are what the hypervisor says they are".into());
    }
    (asked.unwrap_or(own), notes)
}

/// Asks a child whether it can work at all, and binds the threads to CPUs if that is allowed.
fn cpus(options: &Options, notes: &mut Vec<String>) -> Result<Option<[usize; 2]>, Error> {
    let ask = |cpus| -> Result<Option<String>, Error> {
        let spec = Spec {
            variant: String::new(),
            place: Place::INTERESTING[0],
            book: Profile::Intel.into(),
            cpus,
            budget: Budget::Time(0),
            parent: std::process::id(),
        };
        let (counts, refusal) = cell(options, &spec)?;
        Ok(if counts.died > 0 { Some("a child that had nothing to do yet was killed".into()) } else { refusal })
    };
    if let Some(why) = ask(None)? {
        return Err(Error::Refused(why));
    }
    let mut mask = [0u64; 16];
    let allowed: Vec<usize> = match sys::affinity(0, &mut mask) {
        Ok(()) => (0..1024).filter(|i| mask[i / 64] >> (i % 64) & 1 == 1).collect(),
        Err(_) => Vec::new(),
    };
    let one = "one CPU: patcher and executor take turns on it, which shows what preemption shows and no more";
    let (Some(&first), Some(&last)) = (allowed.first(), allowed.last()) else {
        notes.push("the CPUs of this process cannot be asked for; the kernel places the threads".into());
        return Ok(None);
    };
    if first == last {
        notes.push(one.into());
    }
    match ask(Some([first, last]))? {
        None => {
            if first != last {
                notes.push(format!("the patcher on CPU {first}, the executor on CPU {last}"));
            }
            Ok(Some([first, last]))
        }
        Some(why) => {
            notes.push(format!("{why}; the kernel places the threads"));
            Ok(None)
        }
    }
}

/// Runs children until the cell's budget is spent; what they counted, and why they could not, if so.
fn cell(options: &Options, spec: &Spec) -> Result<(Counts, Option<String>), Error> {
    let cannot = |what: &str, e: std::io::Error| Error::Refused(format!("{what}: {e}"));
    let (shared, fd) = Mapping::create().map_err(|e| cannot("no memory to share with children", e))?;
    let begun = Instant::now();
    let mut died = 0;
    let refusal = loop {
        let mut rest = spec.clone();
        if let Budget::Time(nanos) = &mut rest.budget {
            *nanos = nanos.saturating_sub(begun.elapsed().as_nanos() as u64);
        }
        let orders = serde_json::to_string(&rest).map_err(|e| Error::Refused(e.to_string()))?;
        let [program, arguments @ ..] = &options.child[..] else {
            return Err(Error::Refused("no program to run as a child".into()));
        };
        let input = fd.try_clone().map_err(|e| cannot("no descriptor for a child", e))?;
        let child = Command::new(program).args(arguments).arg(orders).stdin(input).stdout(Stdio::null()).spawn();
        let child = child.map_err(|e| cannot("no child process", e))?;
        let limit = match rest.budget {
            Budget::Time(nanos) => Some(Duration::from_nanos(nanos) + GRACE),
            Budget::UntilSeen { .. } => None,
        };
        let Some(status) = wait(child, limit).map_err(|e| cannot("a child was lost", e))? else {
            break Some("it did not end and was killed".into());
        };
        match (status.code(), status.signal()) {
            (Some(0), _) => break shared.refusal(),
            (Some(code), _) if code == i32::from(HUNG) => {}
            (None, Some(_)) => died += 1,
            _ => break Some(format!("a child failed: {status}")),
        }
        let over = match spec.budget {
            Budget::Time(nanos) => begun.elapsed() >= Duration::from_nanos(nanos),
            Budget::UntilSeen { .. } => true,
        };
        if over || died + shared.counts().hung >= LIVES {
            break None;
        }
    };
    Ok((Counts { died, ..shared.counts() }, refusal))
}

/// The exit status, or nothing if it had to be killed.
fn wait(child: Child, limit: Option<Duration>) -> std::io::Result<Option<ExitStatus>> {
    let mut child = Kill(child);
    let begun = Instant::now();
    while limit.is_none_or(|limit| begun.elapsed() < limit) {
        if let Some(status) = child.0.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

/// A child that does not outlive this.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        // Both fail if it has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line of `/proc/cpuinfo`, of the first CPU.
fn cpuinfo(field: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line =
        text.lines().find(|line| line.split('\t').next().is_some_and(|name| name.trim_end_matches(':') == field))?;
    Some(line.split_once(": ")?.1.trim().into())
}
