//! Names for people: demangled, and shortened when room is short.

use std::fmt::{self, Write};

/// Mangled names longer than this are shown as they are: demangling them can take seconds.
const MAX_MANGLED: usize = 8 * 1024;

/// Demangled names are cut here: substitutions let a short mangled name grow exponentially.
const MAX_DEMANGLED: usize = 4 * 1024;

/// The name as the programmer wrote it: Rust (legacy and v0, without the hash), C++ (Itanium), and
/// anything else unchanged.
#[must_use]
pub fn demangle(name: &str) -> String {
    if name.len() > MAX_MANGLED {
        return name.to_string();
    }
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        let mut text = Limited::default();
        // The alternate form leaves out the hash, which changes with every build.
        if write!(text, "{rust:#}").is_ok() && !text.0.is_empty() {
            return text.0;
        }
        return name.to_string();
    }
    if name.starts_with("_Z") || name.starts_with("___Z") {
        return demangle_cpp(name).unwrap_or_else(|| name.to_string());
    }
    name.to_string()
}

fn demangle_cpp(name: &str) -> Option<String> {
    // `f.cold`, `f.part.0`, `f.isra.0.lto_priv.1`: pieces that the compiler split off.
    let (symbol, suffix) = match name.find(['.', '@']) {
        Some(at) => name.split_at(at),
        None => (name, ""),
    };
    let parsed = cpp_demangle::Symbol::new(symbol).ok()?;
    let options = cpp_demangle::DemangleOptions::new().recursion_limit(256);
    let mut text = Limited::default();
    parsed.structured_demangle(&mut text, &options).ok()?;
    text.0.push_str(suffix);
    Some(text.0)
}

/// Text that refuses to grow beyond [`MAX_DEMANGLED`].
#[derive(Default)]
struct Limited(String);

impl Write for Limited {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.0.len() + piece.len() > MAX_DEMANGLED {
            return Err(fmt::Error);
        }
        self.0.push_str(piece);
        Ok(())
    }
}

/// The demangled name in at most `width` characters. What says least goes first: parameters, then
/// the insides of `<…>`, then leading path segments; only then is the name cut.
#[must_use]
pub fn shorten(name: &str, width: usize) -> String {
    let fits = |text: &str| text.chars().count() <= width;
    if fits(name) {
        return name.to_string();
    }
    let plain = without_parameters(name);
    if fits(plain) {
        return plain.to_string();
    }
    let mut short = without_generics(plain);
    while !fits(&short) {
        match after_first_segment(&short) {
            Some(rest) => short = rest.to_string(),
            None => break,
        }
    }
    if fits(&short) {
        return short;
    }
    let mut cut: String = short.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Without parameters and without what is in `<…>`.
#[must_use]
pub fn compact(name: &str) -> String {
    without_generics(without_parameters(name))
}

/// `f(int, char)` → `f`; `(anonymous namespace)::f(int) const` → `(anonymous namespace)::f`.
fn without_parameters(name: &str) -> &str {
    let mut depth = 0;
    let mut skip_to = 0;
    for (at, c) in name.char_indices() {
        if at < skip_to {
            continue;
        }
        match c {
            'o' if depth == 0 => skip_to = operator_end(name, at),
            '<' | '{' | '[' => depth += 1,
            '>' | '}' | ']' => depth -= 1,
            // Only a list at the end of a C++ name: one that is followed by `::` is a scope.
            '(' if depth == 0 && at > 0 && !name[..at].ends_with("::") => {
                let end = matching(&name[at..]).map(|len| at + len);
                if end.is_some_and(|end| !name[end..].starts_with("::")) {
                    return &name[..at];
                }
            }
            _ => {}
        }
    }
    name
}

/// Where the symbol of a C++ operator that starts at `at` ends (`operator<`, `operator()`); `at`
/// if none starts there. Its brackets are part of a name and pair with nothing.
fn operator_end(name: &str, at: usize) -> usize {
    let Some(symbol) = name[at..].strip_prefix("operator") else { return at };
    let start = name.len() - symbol.len();
    if symbol.starts_with("()") || symbol.starts_with("[]") {
        return start + 2;
    }
    let len = symbol.find(|c: char| !"<>=-+*/&|^!~%,".contains(c)).unwrap_or(symbol.len());
    if len == 0 { at } else { start + len }
}

/// Length of the bracketed text that starts at the first byte.
fn matching(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// `Vec<(u8, String)>::push` → `Vec<…>::push`. A leading `<A as B>` keeps what is inside, since
/// nothing but that names the type.
fn without_generics(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut depth = 0;
    let mut skip_from = if name.starts_with('<') { 1 } else { 0 };
    let mut skip_to = 0;
    let mut previous = ' ';
    for (at, c) in name.char_indices() {
        if c == 'o' && depth == 0 && at >= skip_to {
            skip_to = operator_end(name, at);
        }
        match c {
            _ if at < skip_to => out.push(c),
            '<' => {
                depth += 1;
                if depth == skip_from + 1 {
                    out.push_str("<…");
                } else if depth <= skip_from {
                    out.push('<');
                }
            }
            '>' if previous != '-' => {
                if depth <= skip_from + 1 {
                    out.push('>');
                }
                depth -= 1;
                if depth == 0 {
                    skip_from = 0; // the leading `<A as B>` is over
                }
            }
            _ if depth <= skip_from => out.push(c),
            _ => {}
        }
        previous = c;
    }
    out
}

/// `a::b::c` → `b::c`, looking only at `::` outside of brackets.
fn after_first_segment(name: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in name.char_indices() {
        match c {
            '<' | '(' | '{' | '[' => depth += 1,
            '>' | ')' | '}' | ']' => depth -= 1,
            ':' if depth == 0 && name[at..].starts_with("::") => return Some(&name[at + 2..]),
            _ => {}
        }
    }
    None
}

/// The last component of a path.
#[must_use]
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demangles_what_compilers_make() {
        for (mangled, wanted) in [
            ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back(int const&)"),
            ("_Z3fooi.part.0", "foo(int).part.0"),
            ("sqlite3_step", "sqlite3_step"),
            ("_Znot_mangled", "_Znot_mangled"),
            ("", ""),
        ] {
            assert_eq!(demangle(mangled), wanted);
        }
    }

    #[test]
    fn an_exploding_name_stays_mangled() {
        // Each substitution doubles the one before.
        let mut name = String::from("_Z1fN1aI1bE");
        for i in 0..40 {
            name.push_str(&format!("NS{}_IS{}_E", if i == 0 { String::new() } else { format!("{i}") }, ""));
        }
        assert!(demangle(&name).len() <= MAX_DEMANGLED);
        let long = format!("_Z{}", "1a".repeat(MAX_MANGLED));
        assert_eq!(demangle(&long), long);
    }

    #[test]
    fn shortens_by_what_says_least() {
        let rust = "<alloc::vec::Vec<T, A> as core::iter::Extend<T>>::extend_desugared";
        assert_eq!(shorten(rust, 100), rust);
        assert_eq!(shorten(rust, 65), "<alloc::vec::Vec<…> as core::iter::Extend<…>>::extend_desugared");
        assert_eq!(shorten(rust, 60), "extend_desugared");
        assert_eq!(
            shorten("std::vector<int, std::allocator<int> >::push_back(int const&)", 45),
            "std::vector<…>::push_back"
        );
        assert_eq!(shorten("a::b::c::function", 12), "c::function");
        assert_eq!(shorten("a_very_long_c_function", 10), "a_very_lo…");
        assert_eq!(shorten("(anonymous namespace)::run(int) const", 30), "(anonymous namespace)::run");
        assert_eq!(shorten("Foo::operator()(int, int, int, int)", 16), "Foo::operator()");
        assert_eq!(shorten("Foo::operator<(Foo const&) const", 15), "Foo::operator<");
    }
}
