//! What must never happen, and what must happen sometimes.

use serde::{Deserialize, Serialize};

/// A kind of violation; the numbers are those of the digest that the expected verdicts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Violation {
    /// V1: bytes were executed that are no instruction of either form.
    Torn,
    /// V2: the first instruction of one form was executed and then the second of the other.
    Pair,
    /// V3: a trap found nobody who knows it.
    LostTrap,
    /// V4: a trap was reported where there never was one.
    SpuriousTrap,
    /// V5: a thread went on in the middle of an instruction.
    MidInstruction,
    /// V6: an instruction was executed while it changed in a way that the architecture does not allow live.
    NotLive,
    /// V7: a non-maskable interrupt came while one was running that cannot be interrupted.
    NestedNmi,
    /// V8: a non-maskable interrupt helps with an address and bytes that do not belong together.
    Mismatched,
    /// V9: a form was executed that was gone when the call returned.
    Stale,
    /// V10: the patcher can never finish.
    Deadlock,
    /// A trap was answered with something that is neither form's effect.
    WrongEffect,
    /// The table was withdrawn while a handler decided by it.
    TableInUse,
    /// The call returned and an NMI may still read the record.
    RecordInUse,
    /// A store went to text that was not opened, be it the patcher's or an NMI's.
    Fault,
    /// The call returned and the text was still writable.
    LeftWritable,
    /// The call returned and threads were still parked.
    LeftParked,
    /// The call returned and the text is not what it says.
    WrongText,
    /// Somebody else's change was overwritten.
    ForeignLost,
    /// The way back ended with bytes that it did not expect.
    NotUndone,
}

impl Violation {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Torn,
        Self::Pair,
        Self::LostTrap,
        Self::SpuriousTrap,
        Self::MidInstruction,
        Self::NotLive,
        Self::NestedNmi,
        Self::Mismatched,
        Self::Stale,
        Self::Deadlock,
        Self::WrongEffect,
        Self::TableInUse,
        Self::RecordInUse,
        Self::Fault,
        Self::LeftWritable,
        Self::LeftParked,
        Self::WrongText,
        Self::ForeignLost,
        Self::NotUndone,
    ];

    /// One sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Torn => "torn instruction: these bytes are no instruction of the old or the new form",
            Self::Pair => "mixed pair: the first instruction of one form, then the second of the other",
            Self::LostTrap => "lost trap: nobody knows it, the process is killed",
            Self::SpuriousTrap => "spurious trap: it is reported at an address that has none",
            Self::MidInstruction => "resumed in the middle of an instruction",
            Self::NotLive => {
                "not live: it was executed while it changed, and the architecture does not let it change live"
            }
            Self::NestedNmi => "nested NMI: one came while another was running that cannot be interrupted",
            Self::Mismatched => "mismatched record: the NMI has one change's address and another's bytes",
            Self::Stale => "stale code: it was executed after the call had returned",
            Self::Deadlock => "deadlock: the patcher can never finish",
            Self::WrongEffect => "wrong effect: the answer to the trap is neither form's",
            Self::TableInUse => "the trap table is withdrawn while a handler decides by it",
            Self::RecordInUse => "the call returned while an NMI may still read the record",
            Self::Fault => "fault: the text was not writable",
            Self::LeftWritable => "the call returned and left the text writable",
            Self::LeftParked => "the call returned and left threads parked",
            Self::WrongText => "the call returned and the text is not what it says",
            Self::ForeignLost => "somebody else's bytes were overwritten",
            Self::NotUndone => "the way back ended with bytes that it did not expect",
        }
    }

    /// The number in the digest, if it has one there.
    pub const fn number(self) -> Option<&'static str> {
        Some(match self {
            Self::Torn => "V1",
            Self::Pair => "V2",
            Self::LostTrap => "V3",
            Self::SpuriousTrap => "V4",
            Self::MidInstruction => "V5",
            Self::NotLive => "V6",
            Self::NestedNmi => "V7",
            Self::Mismatched => "V8",
            Self::Stale => "V9",
            Self::Deadlock => "V10",
            _ => return None,
        })
    }
}

/// Something that happened in at least one run: proof that a verdict is not vacuous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sometimes {
    /// The old form was executed to its end.
    OldRan,
    /// The new form was.
    NewRan,
    /// The form of a second change was.
    ThenRan,
    /// A thread passed by over the short jump.
    HopRan,
    /// The trap on a head was taken.
    HeadTrap,
    /// The trap on an inner boundary was taken.
    InnerTrap,
    /// A trap was answered with the new form's effect.
    ActedNew,
    /// A trap was answered with the old form's effect.
    ActedOld,
    /// A late thread went on in the copy.
    Late,
    /// A trap was answered by executing the same address again.
    Again,
    /// A signal caught a thread inside a site.
    Caught,
    /// A batch was performed.
    Performed,
    /// A batch was undone.
    Undone,
    /// A batch could not even be undone.
    Broken,
    /// A killed patcher's text was repaired.
    Repaired,
    /// The program took a trap of its own.
    OwnTrap,
    /// A non-maskable interrupt came.
    NmiCame,
    /// A non-maskable interrupt had written its record before it did anything else.
    NmiHelped,
    /// A non-maskable interrupt executed a site.
    NmiRan,
    /// One ran on another CPU while the patcher stored, or came while the text was changed in part.
    NmiMeanwhile,
    /// One came on the patcher's CPU while the text was changed in part.
    NmiOnPatcher,
    /// One interrupted another.
    NmiNested,
}

impl Sometimes {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::OldRan,
        Self::NewRan,
        Self::ThenRan,
        Self::HopRan,
        Self::HeadTrap,
        Self::InnerTrap,
        Self::ActedNew,
        Self::ActedOld,
        Self::Late,
        Self::Again,
        Self::Caught,
        Self::Performed,
        Self::Undone,
        Self::Broken,
        Self::Repaired,
        Self::OwnTrap,
        Self::NmiCame,
        Self::NmiHelped,
        Self::NmiRan,
        Self::NmiMeanwhile,
        Self::NmiOnPatcher,
        Self::NmiNested,
    ];

    /// Whether only non-maskable interrupts can make it happen.
    pub const fn is_of_nmis(self) -> bool {
        matches!(
            self,
            Self::NmiCame | Self::NmiHelped | Self::NmiRan | Self::NmiMeanwhile | Self::NmiOnPatcher | Self::NmiNested
        )
    }

    /// As a bit of a set.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Those of `wanted` that did not happen.
    pub fn missing(happened: u32, wanted: &[Self]) -> Vec<Self> {
        wanted.iter().copied().filter(|w| happened & w.bit() == 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_complete_and_in_order() {
        assert!(Violation::ALL.iter().enumerate().all(|(i, v)| *v as usize == i));
        assert_eq!(Violation::NotUndone as usize + 1, Violation::ALL.len());
        assert!(Sometimes::ALL.iter().enumerate().all(|(i, s)| *s as usize == i));
        assert_eq!(Sometimes::NmiNested as usize + 1, Sometimes::ALL.len());
    }
}
