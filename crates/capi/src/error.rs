//! Errors as numbers, and what they had to say.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};

use textpoke::Verdict;
use textpoke::keys::{KeyError, Misuse};
use textpoke::linux::process::Error;

/// `enum textpoke_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    /// `TEXTPOKE_E_ARGUMENT`
    Argument = 1,
    /// `TEXTPOKE_E_COUNTED`
    Counted = 2,
    /// `TEXTPOKE_E_NOT_COUNTED`
    NotCounted = 3,
    /// `TEXTPOKE_E_FULL`
    Full = 4,
    /// `TEXTPOKE_E_REFUSED`
    Refused = 5,
    /// `TEXTPOKE_E_TRAP_BLOCKED`
    TrapBlocked = 6,
    /// `TEXTPOKE_E_HANDLER`
    Handler = 7,
    /// `TEXTPOKE_E_SYSTEM`
    System = 8,
    /// `TEXTPOKE_E_UNDONE`
    Undone = 9,
    /// `TEXTPOKE_E_BROKEN`
    Broken = 10,
}

/// By number; those that come later than this list are unknown.
const TEXTS: [&CStr; 11] = [
    c"no error",
    c"a null or misaligned pointer, a key of another kind, or a number that does not fit",
    c"several users have the key on: decrement it, `disable` is for keys that are not counted",
    c"the key was decremented more often than incremented",
    c"the count of the key is at its end",
    c"a site cannot become what was asked",
    c"a thread blocks SIGTRAP: unblock it there, or see textpoke_assume_word_stores",
    c"the program installed its SIGTRAP handler after textpoke's: install it before",
    c"the kernel refused what every change needs: /proc, membarrier, or writing to text",
    c"the change failed half way and was undone",
    c"the change failed half way and could not be undone",
];

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// What a function returns: 0, or the error's number, while its text is kept for [`textpoke_error_message`].
pub(crate) fn report(result: Result<(), Failure>) -> c_int {
    let Err(Failure { code, text }) = result else { return 0 };
    // A thread that is ending has no place for the text any more, and texts of ours have no NUL.
    let _ = MESSAGE.try_with(|message| message.replace(CString::new(text).unwrap_or_default()));
    code as c_int
}

/// An error on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub code: Code,
    text: String,
}

impl Failure {
    pub fn argument(text: impl Into<String>) -> Self {
        Self { code: Code::Argument, text: text.into() }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let code = match error {
            KeyError::Misuse(Misuse::Counted(_)) => Code::Counted,
            KeyError::Misuse(Misuse::NotCounted) => Code::NotCounted,
            KeyError::Misuse(Misuse::Full) => Code::Full,
            KeyError::TrapBlocked(_) | KeyError::Process(Error::TrapBlocked(_)) => Code::TrapBlocked,
            KeyError::Process(Error::HandlerReplaced) => Code::Handler,
            KeyError::Process(Error::Failed(Verdict::Undone(_))) => Code::Undone,
            KeyError::Process(Error::Failed(_) | Error::Unrepaired(_)) => Code::Broken,
            KeyError::Process(Error::Setup(..) | Error::SelfTest) => Code::System,
            _ => Code::Refused,
        };
        Self {
            code,
            text: error.to_string().replace("textpoke::keys::assume_word_stores", "textpoke_assume_word_stores"),
        }
    }
}

/// What an error number says.
#[unsafe(no_mangle)]
pub extern "C" fn textpoke_strerror(error: c_int) -> *const c_char {
    let known = usize::try_from(error).ok().and_then(|error| TEXTS.get(error));
    known.copied().unwrap_or(c"no error number of textpoke's").as_ptr()
}

/// What the last function that failed in this thread had to say.
#[unsafe(no_mangle)]
pub extern "C" fn textpoke_error_message() -> *const c_char {
    MESSAGE.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use textpoke::Refusal;
    use textpoke::linux::process::Error;

    #[test]
    fn each_error_has_its_number_and_text() {
        for (error, code) in [
            (KeyError::Misuse(Misuse::Counted(2)), Code::Counted),
            (KeyError::Misuse(Misuse::NotCounted), Code::NotCounted),
            (KeyError::Misuse(Misuse::Full), Code::Full),
            (KeyError::Refused(1, Refusal::OldNotEmulated), Code::Refused),
            (KeyError::TrapBlocked(1), Code::TrapBlocked),
            (KeyError::Process(Error::HandlerReplaced), Code::Handler),
            (KeyError::Process(Error::SelfTest), Code::System),
            (KeyError::Process(Error::ShadowStack), Code::Refused),
        ] {
            assert_eq!(report(Err(error.into())), code as c_int);
            // SAFETY: strings of this thread.
            let (general, message) =
                unsafe { (CStr::from_ptr(textpoke_strerror(code as c_int)), CStr::from_ptr(textpoke_error_message())) };
            assert_eq!(general, TEXTS[code as usize]);
            assert!(!message.is_empty() && !message.to_string_lossy().contains("::"), "{message:?}");
        }
        assert_eq!(report(Ok(())), 0);
        // SAFETY: static text.
        assert!(unsafe { CStr::from_ptr(textpoke_strerror(-1)) }.to_string_lossy().starts_with("no error number"));
        assert_eq!(textpoke_strerror(11), textpoke_strerror(i32::MAX));
    }
}
