//! Building a kernel, and the names of its functions.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol, SectionIndex, SectionKind, SymbolKind};

use super::Machine;
use crate::cross::Rust;
use crate::steps::status;
use crate::workspace::Workspace;

/// A kernel, built.
pub struct Image {
    /// The ELF file.
    pub path: PathBuf,
    /// Functions: address and name, ascending.
    pub symbols: Vec<(u64, String)>,
}

/// The Rust that can build it. The NOPs at the functions' entries take a flag that is not stable, so that it must be one
/// which builds the library along.
pub fn toolchain(machine: &Machine) -> Result<Rust, String> {
    Rust::find(machine.target)
}

/// Builds one: `what` says which, as cargo does.
pub fn build(workspace: &Workspace, machine: &Machine, what: &[&str]) -> Result<Image, String> {
    let mut command = kernel(workspace, machine, "rustc")?;
    command.arg("--release").args(what).arg("--").args(machine.entries);
    status(&mut command)?;
    let folder = workspace.root().join("target/cross").join(machine.target.triple).join("release");
    let path = match what {
        ["--example", name] => folder.join("examples").join(name),
        _ => folder.join("textpoke-kernel"),
    };
    let symbols = symbols(&path)?;
    Ok(Image { path, symbols })
}

/// A cargo command for a kernel.
pub fn kernel(workspace: &Workspace, machine: &Machine, verb: &str) -> Result<Command, String> {
    let root = workspace.root();
    let script = root.join("kernel/src/arch").join(machine.isa).join("link.ld");
    let mut command = toolchain(machine)?.cargo(workspace, verb);
    command.arg("--manifest-path").arg(root.join("kernel/Cargo.toml"));
    command.env("RUSTC_BOOTSTRAP", "1");
    command
        .env("RUSTFLAGS", format!("-C relocation-model=static -C link-arg=-static -C link-arg=-T{}", script.display()));
    // The functions that the compiler itself calls, such as memcpy.
    command.arg("-Zbuild-std-features=compiler-builtins-mem");
    Ok(command)
}

/// Labels of assembly have no kind, but what is executed is in sections for that.
fn symbols(path: &Path) -> Result<Vec<(u64, String)>, String> {
    let data = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let file = object::File::parse(&*data).map_err(|error| format!("{}: {error}", path.display()))?;
    let executed = |section: SectionIndex| file.section_by_index(section).is_ok_and(|s| s.kind() == SectionKind::Text);
    let mut all: Vec<(u64, String)> = file
        .symbols()
        .filter(|symbol| symbol.kind() != SymbolKind::Section && symbol.section_index().is_some_and(executed))
        .filter_map(|symbol| symbol.name().ok().map(|name| (symbol.address(), short(name))))
        .filter(|(_, name)| !name.is_empty() && !name.starts_with('$'))
        .collect();
    all.sort();
    all.dedup_by_key(|(addr, _)| *addr);
    Ok(all)
}

/// A readable name without spaces, and without its crate if that is the kernel.
fn short(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name)).replace(' ', "");
    name.strip_prefix("textpoke_kernel::").unwrap_or(&name).to_owned()
}

impl Image {
    /// The function around an address.
    pub fn around(&self, addr: u64) -> Option<&str> {
        let behind = self.symbols.partition_point(|(start, _)| *start <= addr);
        self.symbols.get(behind.checked_sub(1)?).map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = vec![(0x10, "a".into()), (0x20, "b".into())];
        let image = Image { path: PathBuf::new(), symbols };
        assert_eq!([0xf, 0x10, 0x1f, 0x99].map(|at| image.around(at)), [None, Some("a"), Some("a"), Some("b")]);
    }

    #[test]
    fn names_are_short() {
        assert_eq!(short("_RNvNtCs1_15textpoke_kernel5tests3run"), "tests::run");
        assert_eq!(short("pvh_entry"), "pvh_entry");
    }
}
