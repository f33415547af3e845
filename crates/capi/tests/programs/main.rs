//! Programs in C and C++ that use `textpoke.h`: built in many ways, run, and looked at.

mod build;
mod elsewhere;
mod install;
mod look;
mod mixed;

use build::{Compiler, Program, WARNINGS};

/// Ways of building, each for every compiler.
const WAYS: [&[&str]; 5] = [
    &["-O0"],
    &["-O1", "-fno-pie", "-no-pie"],
    &["-O2", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"],
    &["-O3", "-fPIC", "-masm=intel"],
    &["-Os", "-fcf-protection=full", "-fstack-protector-all"],
];

/// The program of keys in this object, another one and a library, with one copy of textpoke or one in each.
fn matrix(compiler: &Compiler, flags: &[&str]) -> Program {
    let hidden = "-Wl,--exclude-libs,libtextpoke_capi.a";
    let program = compiler.program(&["matrix.c", "other.c"], &[flags, &["-rdynamic", hidden]].concat()).linked();
    let own = compiler.library("plugin.c", &[flags, &[hidden]].concat()).linked();
    program.run(&[&own.path()]);
    program
}

#[test]
fn before_during_and_after_loading_in_every_object() {
    for compiler in Compiler::all("c") {
        for flags in WAYS {
            matrix(&compiler, flags);
        }
    }
}

#[test]
fn with_the_shared_library() {
    for compiler in Compiler::all("c") {
        let program = compiler.program(&["matrix.c", "other.c"], &["-O2", "-rdynamic"]).with_shared_library();
        let plugin = compiler.library("plugin.c", &["-O2"]).with_shared_library();
        let own = compiler.library("plugin.c", &["-O2", "-Wl,--exclude-libs,libtextpoke_capi.a"]).linked();
        program.run(&[&plugin.path(), &own.path()]);
    }
}

#[test]
fn without_a_loader_and_stripped() {
    for compiler in Compiler::all("c") {
        for flags in [&["-static"][..], &["-static-pie", "-fPIE"], &["-s"]] {
            compiler.program(&["matrix.c", "other.c"], flags).linked().run(&[]);
        }
    }
    let stripped = matrix(&Compiler::all("c")[0], &["-O2", "-s"]);
    // Without section headers, too: the tables are found by the program headers.
    let mut file = std::fs::read(stripped.path()).unwrap();
    file[0x28..0x30].fill(0);
    file[0x3c..0x40].fill(0);
    let bare = stripped.beside("bare", &file);
    bare.run(&[]);
}

#[test]
fn optimised_by_the_linker() {
    for compiler in Compiler::all("c") {
        // Debian's plugin of GNU ld for Clang does not read the bitcode that Rust's std brings along.
        let flags: &[&str] = if compiler.is_clang() { &["-flto", "-O2", "-fuse-ld=lld"] } else { &["-flto", "-O2"] };
        if compiler.links(flags) {
            matrix(&compiler, flags);
        }
    }
}

#[test]
fn under_sanitizers() {
    for compiler in Compiler::all("c") {
        for flag in ["-fsanitize=address", "-fsanitize=thread", "-fsanitize=undefined"] {
            if compiler.links(&[flag]) {
                matrix(&compiler, &["-O1", "-g", flag]);
            }
        }
    }
}

#[test]
fn functions_that_several_objects_have() {
    for compiler in Compiler::all("c++") {
        for flags in WAYS {
            compiler.program(&["inline.cc", "elsewhere.cc"], flags).linked().run(&[]);
        }
        compiler.program(&["inline.cc", "elsewhere.cc"], &["-std=c++20", "-O2"]).linked().run(&[]);
        let library = compiler.program(&["inline.cc", "elsewhere.cc"], &["-O2", "-shared", "-fPIC"]).linked();
        assert!(std::path::Path::new(&library.path()).exists());
    }
}

#[test]
fn keys_and_sites_apart() {
    for compiler in Compiler::all("c") {
        for linker in ["bfd", "gold", "lld"] {
            let flags = ["-fPIC".to_string(), format!("-fuse-ld={linker}")];
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            if !compiler.links(&flags) {
                continue;
            }
            // A library with sites alone, one with keys alone, and the program that flips.
            let keys = compiler.library("keys.c", &flags).with_shared_library();
            let sites = compiler.library("sites.c", &flags).with_shared_library();
            let folder = format!("-Wl,-rpath,{}", keys.folder());
            let program = |way: &[&str]| {
                let links = [way, &flags[1..], &[&folder]].concat();
                let program = compiler.program(&["apart.c"], &links).with(&[&keys.path(), &sites.path()]);
                program.with_shared_library()
            };
            assert!(!program(&["-fPIC"]).run(&[]).copies("distant"));
            // All use the program's copy of the library's key.
            let late = compiler.library("sites.c", &flags).with_shared_library();
            assert!(program(&["-fno-pie", "-no-pie"]).run(&[&late.path()]).copies("distant"));
        }
    }
}

#[test]
fn the_header_makes_no_warnings() {
    let standards = [("c", &["c11", "gnu17", "c2x"][..]), ("c++", &["c++17", "gnu++17", "c++20"])];
    for (language, standards) in standards {
        for compiler in Compiler::all(language) {
            for standard in standards {
                let standard = format!("-std={standard}");
                let file = if language == "c" { "site.c" } else { "inline.cc" };
                for optimised in ["-O0", "-O2"] {
                    compiler.object(file, &[WARNINGS, &[&standard, optimised]].concat());
                }
            }
        }
    }
}

#[test]
fn what_the_header_refuses() {
    for compiler in Compiler::all("c") {
        for (text, complaint) in [
            ("int g(long); TEXTPOKE_CALL_DEFINE(f, int(int), g);", "type"),
            ("TEXTPOKE_KEYS_DEFINE_TRUE(k, 2); int main(void) { return textpoke_likely_at(k, 2); }", "negative"),
            ("TEXTPOKE_KEY_DECLARE_TRUE(k); TEXTPOKE_KEY_DEFINE_FALSE(k);", "type"),
            ("TEXTPOKE_IMM_DECLARE(n, int, 1); TEXTPOKE_IMM_DEFINE(n, int, 2);", "type"),
            ("int main(void) { int k = 0; return textpoke_unlikely(k); }", "raw"),
        ] {
            let text = format!("#include <textpoke.h>\n{text}");
            let said = compiler.complaint(&text);
            assert!(said.contains(complaint), "{text}: {said}");
        }
    }
}
