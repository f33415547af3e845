//! `textpoke keys`.

use std::io::Write as _;

use textpoke_attach::keys::{self, Key, Operation, Tables, Wanted, Way};

use crate::cmd::record::globs;
use crate::error::{Error, Result};
use crate::keys::{json, select, table, targets};
use crate::live::AGENT;
use crate::text::{self, Paint};

/// Shown under `--help`.
pub const EXAMPLES: &str = "\
Examples:
  textpoke keys 1234                         every key, its state, and where it is defined
  textpoke keys 1234 enable VERBOSE          one key, live: on the next line the program is verbose
  textpoke keys 1234 disable 'net::*'        all keys whose names match, in one go
  textpoke keys 1234 enable 'FEATURES[3]' src/main.rs:12
  textpoke keys 1234 set LIMIT 500           a number
  textpoke keys 1234 list --json | jq '.keys[] | select(.enabled)'

NAME is a key's path or the end of it (net::VERBOSE, VERBOSE), a pattern with * and ?, or FILE:LINE.
Who may trace a process may flip its keys. The program runs on; nothing has to be prepared in it.";

/// Arguments of `keys`.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub struct Args {
    /// Process id
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub pid: u32,

    /// What to do; `list` if nothing is said
    #[command(subcommand)]
    pub action: Option<Action>,

    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// How code is changed: by one store (documented by AMD), by traps (everywhere), or as the CPU's maker documents it
    #[arg(long, value_enum, default_value = "auto", global = true)]
    pub protocol: Protocol,

    /// Only keys that are defined in this file, a program or library (repeatable)
    #[arg(long, value_name = "GLOB", global = true)]
    pub module: Vec<String>,
}

/// How code is changed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Protocol {
    /// As the maker of this CPU documents it
    Auto,
    /// One store for each site; on CPUs of other makers than AMD an assumption
    Word,
    /// Traps
    Breakpoint,
}

/// What to do with the keys.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Show keys, their state, and where they are defined
    List {
        /// Only these
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Switch on what is off
    Enable(Names),
    /// Switch off what is on for one user
    Disable(Names),
    /// Count one user more: on with the first
    Inc(Names),
    /// Count one user fewer: off with the last
    Dec(Names),
    /// Give a number another value
    Set {
        /// The number
        #[arg(value_name = "NAME")]
        name: String,
        /// Its new value: decimal, or hexadecimal with 0x
        #[arg(value_name = "VALUE", value_parser = number, allow_negative_numbers = true)]
        value: i128,
        /// All keys of this name, if there are several
        #[arg(long)]
        all: bool,
    },
}

/// Which keys.
#[derive(Debug, clap::Args)]
pub struct Names {
    /// Path of a key or its end, pattern, or FILE:LINE
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,

    /// All keys of these names, if there are several; without a name, all that can be switched
    #[arg(long)]
    pub all: bool,
}

/// Runs the verb.
///
/// # Errors
/// The process cannot be read or has no keys, a name means none or several, or the keys cannot be changed.
pub fn run(args: &Args) -> Result<()> {
    let pid = args.pid as i32;
    let mut tables = keys::read(pid).map_err(|e| Error::new(e.to_string()))?;
    for fault in &tables.faults {
        text::warn(fault);
    }
    if tables.keys.is_empty() {
        return Err(Error::new(format!("process {pid} has no keys (nothing in it was built with textpoke's macros)")));
    }
    if !args.module.is_empty() {
        restrict(&mut tables, &args.module)?;
    }
    let (op, names, all) = match &args.action {
        None => return list(args, &tables, &[]),
        Some(Action::List { names }) => return list(args, &tables, names),
        Some(Action::Enable(names)) => (Operation::Enable, &names.names, names.all),
        Some(Action::Disable(names)) => (Operation::Disable, &names.names, names.all),
        Some(Action::Inc(names)) => (Operation::Inc, &names.names, names.all),
        Some(Action::Dec(names)) => (Operation::Dec, &names.names, names.all),
        Some(Action::Set { name, value, all }) => (Operation::Set(*value), &vec![name.clone()], *all),
    };
    flip(args, &tables, op, names, all)
}

fn restrict(tables: &mut Tables, modules: &[String]) -> Result<()> {
    let wanted = globs(modules, "--module")?;
    let fits = |path: &str| wanted.is_match(path) || path.rsplit('/').next().is_some_and(|name| wanted.is_match(name));
    let fitting: Vec<bool> = tables.objects.iter().map(|object| fits(&object.path)).collect();
    tables.keys.retain(|key| fitting[key.object]);
    if tables.keys.is_empty() {
        return Err(Error::new(format!("no file with keys matches --module {}", modules.join(" --module "))));
    }
    Ok(())
}

fn list(args: &Args, tables: &Tables, names: &[String]) -> Result<()> {
    let mut keys = select::matching(tables, names)?;
    keys.sort_by(|a, b| (a.object, &a.name, a.index).cmp(&(b.object, &b.name, b.index)));
    let targets = targets::names(args.pid as i32, tables);
    put(&if args.json {
        pretty(&json::document(args.pid, tables, &keys, &targets))?
    } else {
        table::listing(tables, &keys, &targets, text::width(), Paint::stdout())
    })
}

fn flip(args: &Args, tables: &Tables, op: Operation, names: &[String], all: bool) -> Result<()> {
    let mut meant = select::meant(tables, names, all)?;
    if names.is_empty() {
        meant.retain(|key| key.kind == textpoke_keys::abi::Kind::Branch);
    }
    let want = |key: &&Key| Wanted { at: key.at, name: key.full_name(), op };
    let wanted: Vec<Wanted> = meant.iter().map(want).collect();
    let way = match args.protocol {
        Protocol::Auto => Way::documented(AGENT),
        Protocol::Word => Way::Word,
        Protocol::Breakpoint => Way::Traps(AGENT),
    };
    let done = keys::flip(args.pid as i32, &wanted, way).map_err(|e| Error::new(e.to_string()))?;
    put(&if args.json { pretty(&json::changes(&done))? } else { table::flipped(&done, &meant, Paint::stdout()) })
}

fn pretty(what: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(what).map_err(|e| Error::new(format!("cannot make JSON: {e}")))?;
    Ok(text + "\n")
}

fn put(text: &str) -> Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|e| Error::stdout(&e))
}

fn number(text: &str) -> Result<i128, String> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let parsed = match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    match parsed {
        Ok(number) if (0..=i128::from(u64::MAX)).contains(&number) => Ok(sign * number),
        _ => Err("use a number of at most 64 bits, as in 100, -3 or 0xff".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers() {
        assert_eq!((number("100"), number("-3"), number("0xff")), (Ok(100), Ok(-3), Ok(255)));
        assert_eq!(number("18446744073709551615"), Ok(i128::from(u64::MAX)));
        assert!(["", "-", "0x", "ten", "18446744073709551616", "--3"].iter().all(|bad| number(bad).is_err()));
    }
}
