//! Compiling, linking and running.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::rc::Rc;

/// What must not be said of the header.
pub const WARNINGS: &[&str] = &["-Wall", "-Wextra", "-pedantic", "-Werror", "-Wno-unused-function"];

/// A compiler that is there.
#[derive(Clone)]
pub struct Compiler {
    command: String,
    language: &'static str,
}

/// Something that is being built, or was.
pub struct Program {
    compile: Command,
    folder: Rc<tempfile::TempDir>,
    output: PathBuf,
}

pub fn manifest() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where this crate's libraries were built: beside the tests.
pub fn libraries() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap();
    assert!(folder.join("libtextpoke_capi.a").exists(), "{} has no library", folder.display());
    folder.to_path_buf()
}

/// Whether a program can be started.
pub fn exists(command: &str) -> bool {
    Command::new(command).arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Compiler {
    /// The system's compiler for C or C++, and Clang where it is installed.
    pub fn all(language: &'static str) -> Vec<Self> {
        let (system, clang) = if language == "c" { ("cc", "clang") } else { ("c++", "clang++") };
        let all: Vec<Self> = [system, clang]
            .into_iter()
            .filter(|command| exists(command))
            .map(|command| Self { command: command.into(), language })
            .collect();
        if all.len() < 2 {
            println!("not checked with everything: {clang} is not installed");
        }
        assert!(!all.is_empty(), "there is no compiler: {system}");
        all
    }

    pub fn is_clang(&self) -> bool {
        self.command.starts_with("clang")
    }

    fn start(&self, name: &str) -> Program {
        let folder = Rc::new(tempfile::tempdir().unwrap());
        let output = folder.path().join(name);
        let mut compile = Command::new(&self.command);
        compile.current_dir(manifest().join("tests/c"));
        compile.arg(if self.language == "c" { "-std=gnu11" } else { "-std=c++17" });
        compile.arg("-I").arg(manifest().join("include")).arg("-o").arg(&output);
        Program { compile, folder, output }
    }

    /// A program of these files.
    pub fn program(&self, files: &[&str], flags: &[&str]) -> Program {
        let mut program = self.start("program");
        program.compile.args(flags).args(files);
        program
    }

    /// A library of this file.
    pub fn library(&self, file: &str, flags: &[&str]) -> Program {
        let mut library = self.start(&format!("lib{}.so", Path::new(file).file_stem().unwrap().display()));
        library.compile.args(flags).args(["-fPIC", "-shared", file]);
        library
    }

    /// Only compiles.
    pub fn object(&self, file: &str, flags: &[&str]) -> Program {
        let mut object = self.start("object.o");
        object.compile.args(flags).args(["-c", file]);
        object.done()
    }

    /// What is said about a text that does not compile.
    pub fn complaint(&self, text: &str) -> String {
        let mut program = self.start("object.o");
        let source = program.folder.path().join("bad.c");
        std::fs::write(&source, text).unwrap();
        let output = program.compile.args(["-Werror", "-c"]).arg(source).output().unwrap();
        assert!(!output.status.success(), "{text}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Whether flags can be used here: a linker or a sanitizer may not be installed.
    pub fn links(&self, flags: &[&str]) -> bool {
        let mut program = self.start("program");
        let source = program.folder.path().join("empty.c");
        std::fs::write(&source, "int main(void) { return 0; }").unwrap();
        let good = program.compile.args(flags).arg(source).output().unwrap().status.success();
        if !good {
            println!("not checked: {} cannot do {flags:?} here", self.command);
        }
        good
    }
}

impl Program {
    /// With further files.
    pub fn with(mut self, files: &[&str]) -> Self {
        self.compile.args(files);
        self
    }

    /// With a copy of textpoke inside.
    pub fn linked(mut self) -> Self {
        self.compile.arg(libraries().join("libtextpoke_capi.a")).args(["-lpthread", "-ldl", "-lm"]);
        self.done()
    }

    /// With the shared library, by the name that it is asked for at run time.
    pub fn with_shared_library(mut self) -> Self {
        let library = self.folder.path().join("libtextpoke.so.0");
        std::fs::copy(libraries().join("libtextpoke_capi.so"), &library).unwrap();
        self.compile.arg(&library).arg(format!("-Wl,-rpath,{}", self.folder.path().display())).arg("-lpthread");
        self.done()
    }

    /// With nothing more: as it is, or with the functions of the program that it is loaded by.
    pub fn done(mut self) -> Self {
        good(&mut self.compile);
        self
    }

    pub fn path(&self) -> String {
        self.output.display().to_string()
    }

    pub fn folder(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Another program in the same folder.
    pub fn beside(&self, name: &str, content: &[u8]) -> Self {
        let output = self.folder.path().join(name);
        std::fs::copy(&self.output, &output).unwrap();
        std::fs::write(&output, content).unwrap();
        Self { compile: Command::new("true"), folder: self.folder.clone(), output }
    }

    /// Whether the linker copies a variable out of a library: then it is defined in the program, too.
    pub fn copies(&self, variable: &str) -> bool {
        use object::{Object, ObjectSymbol};
        let file = std::fs::read(&self.output).unwrap();
        let file = object::File::parse(&*file).unwrap();
        file.dynamic_symbols().any(|symbol| symbol.name() == Ok(variable) && symbol.is_definition())
    }

    /// Runs it; it must succeed. Cargo's search path for libraries would come before the program's own.
    pub fn run(&self, arguments: &[&str]) -> &Self {
        good(Command::new(&self.output).args(arguments).env_remove("LD_LIBRARY_PATH"));
        self
    }
}

/// Runs a command that must succeed.
pub fn good(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    output
}
