//! What names tell: cold parts, functions that return twice, functions that switch stacks, and
//! the files that make up the run-time system.

use crate::reason::Reason;

/// `foo` of `foo.cold` and `foo.cold.12`; `None` for every other name.
pub(crate) fn cold_parent(name: &str) -> Option<&str> {
    let (parent, rest) = name.rsplit_once(".cold")?;
    let is_suffix = rest.is_empty()
        || rest.strip_prefix('.').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    (is_suffix && !parent.is_empty()).then_some(parent)
}

/// What the analysis knows of a function by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// Not patched at all.
    Refused(Reason),
    /// The entry is patched; the function has no exit that could be paired with it.
    EntryOnly,
}

/// Functions whose returns do not pair with their calls. Assemblers and C libraries write these by
/// hand, so that their code does not always show what they do.
pub(crate) fn special(name: &str) -> Option<Special> {
    let bare = name.trim_start_matches('_');
    Some(match bare {
        // They save a return address that is used a second time, later or by the child.
        "setjmp" | "sigsetjmp" | "vfork" | "libc_vfork" | "getcontext" | "savectx" => {
            Special::Refused(Reason::ReturnsTwice)
        }
        // They end somewhere else than where they were called from.
        "longjmp"
        | "siglongjmp"
        | "longjmp_chk"
        | "libc_longjmp"
        | "libc_siglongjmp"
        | "setcontext"
        | "swapcontext"
        | "makecontext"
        | "start_context"
        | "jump_fcontext"
        | "make_fcontext"
        | "ontop_fcontext"
        | "morestack"
        | "morestack_non_split"
        | "restore_rt"
        | "clone"
        | "clone3"
        | "libc_clone"
        | "sigreturn"
        | "rt_sigreturn" => Special::Refused(Reason::StackSwitching),
        // Ordinary code that returns in two processes.
        "fork" | "Fork" | "libc_fork" => Special::EntryOnly,
        _ => return None,
    })
}

/// Whether a file belongs to the run-time system that is left alone unless asked for: the C library,
/// the dynamic linker, the old companions of the C library, and the vdso. Takes a path or a soname.
///
/// ```
/// assert!(textpoke_analyze::is_runtime("/usr/lib/x86_64-linux-gnu/libc.so.6"));
/// assert!(textpoke_analyze::is_runtime("[vdso]"));
/// assert!(!textpoke_analyze::is_runtime("/usr/lib/x86_64-linux-gnu/libcrypto.so.3"));
/// ```
pub fn is_runtime(path_or_soname: &str) -> bool {
    let name = path_or_soname.rsplit('/').next().unwrap_or(path_or_soname);
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    if matches!(name, "[vdso]" | "[vsyscall]" | "linux-vdso.so.1" | "linux-gate.so.1") {
        return true;
    }
    if name.starts_with("ld-linux") || name.starts_with("ld-musl-") || name.starts_with("libc.musl-") {
        return true;
    }
    if name == "ld.so" || name.starts_with("ld.so.") {
        return true;
    }
    ["libc", "libpthread", "libdl", "librt", "ld"].iter().any(|stem| {
        name.strip_prefix(stem).is_some_and(|rest| {
            // `libc.so.6`, or `libc-2.31.so` as older distributions named the file behind it.
            (rest == ".so" || rest.starts_with(".so.")) && *stem != "ld"
                || rest
                    .strip_prefix('-')
                    .is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()) && v.contains(".so"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cold_names() {
        assert_eq!(cold_parent("foo.cold"), Some("foo"));
        assert_eq!(cold_parent("foo.part.0.cold.12"), Some("foo.part.0"));
        assert_eq!(cold_parent("foo.part.0"), None);
        assert_eq!(cold_parent("foo.constprop.1"), None);
        assert_eq!(cold_parent("foo.isra.0"), None);
        assert_eq!(cold_parent("foo.colder"), None);
        assert_eq!(cold_parent(".cold"), None);
    }

    #[test]
    fn special_names() {
        assert_eq!(special("_setjmp"), Some(Special::Refused(Reason::ReturnsTwice)));
        assert_eq!(special("__sigsetjmp"), Some(Special::Refused(Reason::ReturnsTwice)));
        assert_eq!(special("swapcontext"), Some(Special::Refused(Reason::StackSwitching)));
        assert_eq!(special("__libc_fork"), Some(Special::EntryOnly));
        assert_eq!(special("setjmp_helper"), None);
    }

    #[test]
    fn runtime_files() {
        for name in [
            "libc.so.6",
            "/lib/libc-2.31.so",
            "ld-linux-x86-64.so.2",
            "/lib/ld-2.31.so",
            "libpthread.so.0",
            "libdl.so.2",
            "librt-2.28.so",
            "/lib/ld-musl-x86_64.so.1",
            "linux-vdso.so.1",
            "/usr/lib/libc.so.6 (deleted)",
        ] {
            assert!(is_runtime(name), "{name}");
        }
        for name in
            ["libcrypto.so.3", "libcap.so.2", "librtmp.so.1", "/usr/bin/ld", "libc++.so.1", "libdlib.so", "ld-tool"]
        {
            assert!(!is_runtime(name), "{name}");
        }
    }
}
