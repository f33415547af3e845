//! What can be run, by name.

use textpoke_core::Kind;

/// One protocol, or one wrong way to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The check that explores it; where sites, steps and world come from.
    pub check: &'static str,
    /// Whether synchronisations are left out and the same steps lead back: stores as fast as they come. Only where the
    /// checker objects anyway.
    pub fast: bool,
    /// Who performs the steps.
    pub by: By,
    /// Where it makes sense.
    pub fits: Fits,
}

/// Who performs the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The library's own machine, as in a program that uses it.
    Live(Kind),
    /// A machine that performs any list of steps.
    Raw(Stores),
}

/// How the machine for variants writes. All of them keep what the step asks for, in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// As the live machine: bytes one by one, words in one store each.
    AsLive,
    /// Eight bytes in one MOV, aligned or not.
    Unaligned,
    /// Four bytes in one MOV, aligned or not, and the fifth in another: what copying five bytes often compiles to.
    FourAndOne,
    /// Byte by byte, and after each the executor makes a whole call: a torn instruction *must* be executed.
    Slow,
}

/// At which places a variant can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fits {
    /// At every place.
    Anywhere,
    /// On an even address.
    Even,
    /// Inside one aligned 8-byte word.
    Inside,
    /// Across the end of one.
    Across,
}

impl Variant {
    /// The variant with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        VARIANTS.iter().find(|v| v.name == name)
    }

    /// Whether it is a protocol that runs live.
    pub const fn is_ours(&self) -> bool {
        matches!(self.by, By::Live(_))
    }

    /// Whether it is there to fail on any CPU, so that a run which sees nothing is known to be blind.
    pub fn is_control(&self) -> bool {
        self.by == By::Raw(Stores::Slow)
    }
}

const fn live(name: &'static str, title: &'static str, kind: Kind, fits: Fits) -> Variant {
    Variant { name, title, check: name, fast: false, by: By::Live(kind), fits }
}

const fn raw(name: &'static str, title: &'static str, fits: Fits) -> Variant {
    Variant { name, title, check: name, fast: false, by: By::Raw(Stores::AsLive), fits }
}

/// Everything: the control, the protocols that run live, wrong ways to store, and protocols with something missing.
pub const VARIANTS: &[Variant] = &[
    Variant {
        name: "control",
        title: "byte by byte, a call after each: fails on every CPU, or this program is blind",
        check: "naive-copy",
        fast: false,
        by: By::Raw(Stores::Slow),
        fits: Fits::Anywhere,
    },
    live("breakpoint", "one instruction, trap first", Kind::Breakpoint, Fits::Anywhere),
    live("displace", "three instructions under one jump", Kind::Displace, Fits::Anywhere),
    live("short_jump", "two-byte jump over the tail", Kind::ShortJump, Fits::Even),
    live("word", "one aligned store", Kind::Word, Fits::Inside),
    Variant {
        name: "naive-copy",
        title: "five one-byte stores over running code",
        check: "naive-copy",
        fast: true,
        by: By::Raw(Stores::AsLive),
        fits: Fits::Anywhere,
    },
    Variant {
        name: "four-and-one",
        title: "a four-byte store and a one-byte store over running code",
        check: "naive-copy",
        fast: true,
        by: By::Raw(Stores::FourAndOne),
        fits: Fits::Anywhere,
    },
    Variant {
        name: "straddling-store",
        title: "one 8-byte store over a site that crosses an 8-byte boundary",
        check: "straddling-store",
        fast: true,
        by: By::Raw(Stores::Unaligned),
        fits: Fits::Across,
    },
    raw("int3-no-sync", "trap, tail, head, and no synchronisation at all", Fits::Anywhere),
    raw("int3-no-sync-1", "no synchronisation between trap and tail", Fits::Anywhere),
    raw("int3-no-sync-2", "no synchronisation between tail and head", Fits::Anywhere),
    raw("int3-no-sync-3", "no synchronisation behind the head, and the handler leaves", Fits::Anywhere),
    raw("int3-no-sync-3-stays", "the same, but the handler stays", Fits::Anywhere),
    raw("int3-full", "breakpoint with a handler that leaves with the batch", Fits::Anywhere),
    raw("handler-leaves-early", "the handler is withdrawn though a trap is pending", Fits::Anywhere),
    raw("five-nops", "five one-byte NOPs treated as one instruction", Fits::Anywhere),
    raw("five-nops-wait", "the same, waiting until nobody is inside", Fits::Anywhere),
    raw("jump-no-sync", "short jump, tail, head, and no synchronisation", Fits::Even),
    raw("displace-no-wait", "displace without waiting until nobody is inside", Fits::Anywhere),
    raw("displace-head-only", "displace without inner traps and without the wait", Fits::Anywhere),
    raw("displace-no-inner-traps", "displace without inner traps, but with the wait", Fits::Anywhere),
];

#[cfg(test)]
mod tests {
    use super::*;
    use textpoke_model::Check;

    #[test]
    fn every_variant_has_a_check_and_a_name_of_its_own() {
        for (i, variant) in VARIANTS.iter().enumerate() {
            assert!(Check::find(variant.check).is_some(), "{}", variant.check);
            assert!(VARIANTS[..i].iter().all(|other| other.name != variant.name), "{}", variant.name);
            let by = if let By::Live(kind) = variant.by { Some(kind) } else { None };
            assert!(by.is_none() || Check::find(variant.check).and_then(|c| c.built_in) == by);
        }
        assert!(VARIANTS[0].is_control() && VARIANTS[1..].iter().all(|v| !v.is_control()));
        // Every protocol that is for user space on x86-64: there are no pairs of words, nobody can be parked, and no NMIs.
        let fits = [Kind::Breakpoint, Kind::Displace, Kind::ShortJump, Kind::Word];
        let ours: Vec<By> = VARIANTS.iter().filter(|v| v.is_ours()).map(|v| v.by).collect();
        assert_eq!(ours, fits.map(By::Live));
    }
}
