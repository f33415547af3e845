//! A site: its address, its forms, and what stands elsewhere for it.

use textpoke_core::{MAX_SITE, Site};

use super::error::{At, Error};
use super::form::{Form, align};
use super::lex::{Line, Word};
use crate::scenario::{IsaId, Place};

/// The forms of a site by name, in the order in which they follow each other.
pub(super) const FORMS: [&str; 3] = ["old", "new", "then"];

/// What the lines of a site have said so far.
#[derive(Debug)]
pub(super) struct Draft {
    pub at: At,
    pub addr: u64,
    pub addr_at: At,
    pub forms: [Option<Form>; 3],
    sets: [Elsewhere; 2],
}

/// What is said of one set, if it is.
#[derive(Debug, Default)]
struct Elsewhere {
    told: [Option<Form>; 2],
    copy: Option<CopySaid>,
    stand_in: Option<(u64, At)>,
}

/// `copy at 0x9000 offsets 0 2 5`.
#[derive(Debug)]
struct CopySaid {
    /// 0: there is none.
    addr: u64,
    offsets: Option<(Vec<u8>, At)>,
    at: At,
}

impl Draft {
    /// `site A at 0x1005`.
    pub fn parse(line: &Line<'_>, number: usize, isa: IsaId) -> Result<Self, Error> {
        let letter = char::from(b'A' + number.min(25) as u8).to_string();
        let rule = format!("this is site {letter}, as in reports: `site {letter} at 0x1005`");
        let [_, name, at, addr] = line.words[..] else { return Err(line.at().error(rule)) };
        if !name.is(&letter) || !at.is("at") {
            return Err(name.at.to(at.at).error(rule));
        }
        let value = address(&addr)?;
        if !value.is_multiple_of(align(isa) as u64) {
            let rule = format!("instructions of {} stand at multiples of {}", isa.name(), align(isa));
            return Err(addr.at.error(rule));
        }
        Ok(Self { at: line.at(), addr: value, addr_at: addr.at, forms: [None, None, None], sets: Default::default() })
    }

    /// The set that `told`, `copy` and `stand-in` are about.
    fn set(&self) -> usize {
        usize::from(self.forms[2].is_some())
    }

    /// A line of a site. False: it is none.
    pub fn line(&mut self, line: &Line<'_>, isa: IsaId) -> Result<bool, Error> {
        let head = line.head();
        if let Some(which) = FORMS.iter().position(|f| head.is(f)) {
            self.form(which, Form::parse(line, 1, isa)?, &head)?;
        } else if head.is("told") {
            self.told(line, isa)?;
        } else if head.is("copy") {
            let set = self.set();
            once(self.sets[set].copy.as_ref().map(|c| c.at), &head)?;
            self.sets[set].copy = Some(copy(line)?);
        } else if head.is("stand-in") {
            let set = self.set();
            once(self.sets[set].stand_in.map(|s| s.1), &head)?;
            let rule =
                "say `stand-in at 0xa000`, or `stand-in none` if the trap handler acts as the instruction itself";
            self.sets[set].stand_in = Some((place(line, rule)?.0, line.at()));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn form(&mut self, which: usize, form: Form, head: &Word<'_>) -> Result<(), Error> {
        once(self.forms[which].as_ref().map(|f| f.at), head)?;
        let Some(before) = which.checked_sub(1) else {
            self.forms[0] = Some(form);
            return Ok(());
        };
        let Some(other) = &self.forms[before] else {
            return Err(head.at.error(format!("`{}` comes before `{}`", FORMS[before], FORMS[which])));
        };
        let (a, b) = (other.bytes.len(), form.bytes.len());
        if a != b {
            let rule = format!(
                "`{}` has {a} bytes and `{}` has {b}: all forms of a site have the same length; give the whole of what \
                 stands there, padding included",
                FORMS[before], FORMS[which]
            );
            return Err(form.at.error(rule));
        }
        if form.calls != 0 {
            let rule = "only a CALL of `old` can be marked: nobody is about to return into code that is not there yet";
            return Err(form.at.error(rule));
        }
        self.forms[which] = Some(form);
        Ok(())
    }

    fn told(&mut self, line: &Line<'_>, isa: IsaId) -> Result<(), Error> {
        let set = self.set();
        let rule =
            format!("say `told {}` or `told {}`, and the form as the protocol sees it", FORMS[set], FORMS[set + 1]);
        let which = line.words.get(1).ok_or_else(|| line.end().error(&*rule))?;
        let side = FORMS[set..set + 2].iter().position(|f| which.is(f)).ok_or_else(|| which.at.error(&*rule))?;
        let form = Form::parse(line, 2, isa)?;
        let Some(truth) = &self.forms[set + side] else {
            return Err(which
                .at
                .error(format!("`{}` comes before what the protocol is told of it", FORMS[set + side])));
        };
        if truth.bytes != form.bytes {
            return Err(form
                .at
                .error("the protocol is told other bytes than those that stand there; it would not begin"));
        }
        once(self.sets[set].told[side].as_ref().map(|f| f.at), which)?;
        self.sets[set].told[side] = Some(form);
        Ok(())
    }

    /// How many sets there are: one, or two with `then`.
    pub fn count(&self) -> Result<usize, Error> {
        for (which, name) in FORMS[..2].iter().enumerate() {
            if self.forms[which].is_none() {
                return Err(self.at.error(format!("this site has no `{name}` form")));
            }
        }
        Ok(1 + usize::from(self.forms[2].is_some()))
    }

    /// Its place in a set. `elsewhere` is where its copy and its stand-in are, if there must be some.
    pub fn place(&self, set: usize, isa: IsaId, elsewhere: [u64; 2]) -> Result<Place, Error> {
        let (Some(old), Some(new)) = (&self.forms[set], &self.forms[set + 1]) else {
            return Err(self.at.error(format!("this site has no `{}` form, and others have", FORMS[set + 1])));
        };
        let Some(mut site) = Site::single(self.addr, &old.bytes, &new.bytes) else {
            return Err(self.at.error(format!("a site has 1 to {MAX_SITE} bytes")));
        };
        if self.addr.checked_add(site.len() as u64).is_none() {
            return Err(self.addr_at.error("the end of this site is behind the last address"));
        }
        let said = &self.sets[set];
        let told = |side: usize, truth: &Form| said.told[side].as_ref().map_or(truth.begins, |told| told.begins);
        (site.inner, site.new_inner) = (told(0, old) & !1, told(1, new) & !1);
        self.elsewhere(&mut site, set, [old.begins, new.begins], isa, elsewhere)?;
        let calls = if set == 0 { old.calls } else { 0 };
        Ok(Place { site, old_begins: old.begins, new_begins: new.begins, calls })
    }

    fn elsewhere(
        &self,
        site: &mut Site,
        set: usize,
        [old, new]: [u8; 2],
        isa: IsaId,
        places: [u64; 2],
    ) -> Result<(), Error> {
        let said = &self.sets[set];
        let [copy, stand_in] = defaults(site, isa, places);
        site.stand_in = said.stand_in.map_or(stand_in, |(at, _)| at);
        site.copy = said.copy.as_ref().map_or(copy, |c| c.addr);
        let begins: Vec<usize> = (0..site.len()).filter(|&i| site.begins_at(i)).collect();
        match said.copy.as_ref().and_then(|c| c.offsets.as_ref()) {
            Some((offsets, at)) => {
                if offsets.len() != begins.len() || offsets[0] != 0 {
                    let n = begins.len();
                    let rule = format!("the protocol is told of {n} old instruction(s): {n} offset(s), the first 0");
                    return Err(at.error(rule));
                }
                begins.iter().zip(offsets).for_each(|(&i, &offset)| site.copy_at[i] = offset);
            }
            None if site.copy != 0 => begins.iter().for_each(|&i| site.copy_at[i] = i as u8),
            None => {}
        }
        // It may be the end of the form in its place.
        let bad = |addr: u64, begins: u8| {
            addr >= site.addr && addr < site.end() && (addr == site.addr || begins >> (addr - site.addr) & 1 == 0)
        };
        let said = said.copy.iter().map(|c| (c.addr, c.at, old, 0)).chain(said.stand_in.map(|(a, at)| (a, at, new, 1)));
        for (addr, at, begins, which) in said {
            if bad(addr, begins) {
                let form = FORMS[set + which];
                return Err(at.error(format!("this is inside the site, and no instruction of `{form}` begins there")));
            }
        }
        Ok(())
    }
}

/// Where a copy and a stand-in are if nothing is said: at `places` if a trap handler cannot do without them.
pub(super) fn defaults(site: &Site, isa: IsaId, places: [u64; 2]) -> [u64; 2] {
    let acts = |bytes: &[u8], inner: u8| inner == 0 && isa.effect(site.addr, bytes).is_some();
    let old = acts(&site.old[..site.len()], site.inner);
    let new = acts(&site.new[..site.len()], site.new_inner);
    [if old { 0 } else { places[0] }, if new { 0 } else { places[1] }]
}

/// Where copies and stand-ins of the `i`-th site are if nothing is said: away from all sites.
pub(super) fn places(i: usize, sites: &[u64]) -> [u64; 2] {
    let mut base = 0x9000;
    while sites.iter().any(|&site| site.saturating_add(8) > base && site < base + 0x2000) {
        base += 0x1_0000;
    }
    [base + 0x100 * i as u64, base + 0x1000 + 0x100 * i as u64]
}

fn copy(line: &Line<'_>) -> Result<CopySaid, Error> {
    let rule = "say `copy at 0x9000`, `copy at 0x9000 offsets 0 2 5` if its instructions are longer, or `copy none`";
    let (addr, rest) = place(line, rule)?;
    let rest: Vec<&Word<'_>> = rest.iter().filter(|w| w.text != ",").collect();
    let [word, offsets @ ..] = &rest[..] else {
        return Ok(CopySaid { addr, offsets: None, at: line.at() });
    };
    if !word.is("offsets") || offsets.is_empty() || addr == 0 {
        return Err(word.at.error(rule));
    }
    let offset = |w: &&Word<'_>| w.text.parse::<u8>().map_err(|_| w.at.error("an offset is 0 to 255"));
    let values = offsets.iter().map(offset).collect::<Result<_, _>>()?;
    let offsets = Some((values, offsets[0].at.to(offsets[offsets.len() - 1].at)));
    Ok(CopySaid { addr, offsets, at: line.at() })
}

/// `none` or `at ADDRESS`, and what follows.
fn place<'l, 't>(line: &'l Line<'t>, rule: &str) -> Result<(u64, &'l [Word<'t>]), Error> {
    match line.from(1) {
        [none] if none.is("none") => Ok((0, &[])),
        [at, addr, rest @ ..] if at.is("at") => match address(addr)? {
            0 => Err(addr.at.error("nothing can be at address 0; say `none`")),
            value => Ok((value, rest)),
        },
        _ => Err(line.at().error(rule)),
    }
}

fn address(word: &Word<'_>) -> Result<u64, Error> {
    let digits = word.text.strip_prefix("0x").filter(|d| d.chars().all(|c| c.is_ascii_hexdigit()));
    let value = digits.and_then(|d| u64::from_str_radix(d, 16).ok());
    value.ok_or_else(|| word.at.error(format!("\"{}\" is no address; write it like 0x1005", word.text)))
}

/// An error if something was said before.
pub(super) fn once(before: Option<At>, head: &Word<'_>) -> Result<(), Error> {
    match before {
        None => Ok(()),
        Some(at) => Err(head.at.error(format!("`{}` was said before, in line {}", head.text, at.line))),
    }
}
