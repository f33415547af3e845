//! What the analysis says of a function.

use crate::exits::{ExitEvent, ExitSite};
use crate::reason::Reason;
use crate::site::{Ends, Site};

/// Where a function was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The static symbol table.
    Symtab,
    /// The dynamic symbol table.
    Dynsym,
    /// An unwind entry; the name is made from the address.
    EhFrame,
}

/// What an entry of the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that is called.
    Function,
    /// A part of a function that the compiler moved away. It is listed for completeness, is never
    /// patched at its start, and its exits are listed with the function that it belongs to.
    Cold,
}

/// How the end of a call is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// Every return and tail jump has an exit site.
    Patched,
    /// Some or none has: the end of a call is inferred from the caller's next event.
    Inferred,
    /// The exits do not pair with the calls (stack switching, returns twice), so that none is
    /// patched and none may be inferred.
    EntryOnly,
}

/// A function, and how it can be patched.
#[derive(Clone, Debug)]
pub struct Function {
    /// Best name, as in the symbol table (mangled), or `fn_<hex address>`.
    pub name: String,
    /// Other names of the same address.
    pub aliases: Vec<String>,
    /// Address as linked; add the load bias for the run-time address.
    pub vaddr: u64,
    /// Bytes, without padding and without cold parts.
    pub size: u64,
    /// Where it was found.
    pub source: Source,
    /// Visible outside its file.
    pub global: bool,
    /// Function or cold part.
    pub kind: Kind,
    /// The bytes to displace at the entry, or why not.
    pub entry: Result<Site, Reason>,
    /// Exits that can be patched; none if the entry cannot. They overlap neither each other nor any entry.
    pub exits: Vec<ExitSite>,
    /// Exits that cannot, each with its address and the reason.
    pub blocked_exits: Vec<(u64, Reason)>,
    /// What follows from the two.
    pub exit: ExitKind,
}

impl Function {
    /// The address behind the last byte.
    pub fn end(&self) -> u64 {
        self.vaddr.saturating_add(self.size)
    }

    /// How the function is left when its entry's displaced run goes straight to its only exit, as
    /// in functions of a few bytes. There is no room for an exit site then, but whoever runs the
    /// copy of the entry knows that the function is left at the end of it.
    pub fn exit_in_entry(&self) -> Option<ExitEvent> {
        let site = self.entry.as_ref().ok()?;
        let [(at, Reason::OverlapsEntry)] = self.blocked_exits[..] else { return None };
        let event = match site.ends {
            Ends::Return => ExitEvent::Return,
            Ends::Jump => ExitEvent::TailJump,
            Ends::FallsThrough | Ends::Call => return None,
        };
        let inside = at >= site.vaddr && at < site.vaddr + site.code().len() as u64;
        (inside && self.exits.is_empty() && site.is_straight()).then_some(event)
    }

    /// Every name, the best one first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        core::iter::once(self.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}
