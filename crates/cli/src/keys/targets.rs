//! What the functions are called that static calls lead to.

use std::collections::BTreeMap;

use object::{Object as _, ObjectSymbol as _, SymbolKind};
use textpoke_attach::keys::Tables;
use textpoke_attach::proc;
use textpoke_keys::abi::Kind;

use crate::live::modules;
use crate::names;

/// The function at each address that a static call of the process leads to: a name, `FILE+0x1234`, or the address.
#[must_use]
pub fn names(pid: i32, tables: &Tables) -> BTreeMap<u64, String> {
    let calls = tables.keys.iter().filter(|key| key.kind == Kind::Call && key.value != 0);
    let mut names: BTreeMap<u64, String> = calls.map(|key| (key.value, format!("{:#x}", key.value))).collect();
    let maps = if names.is_empty() { Vec::new() } else { proc::maps(pid).unwrap_or_default() };
    let mut paths: Vec<&str> = Vec::new();
    for (&at, name) in &mut names {
        let Some(map) = maps.iter().find(|m| m.start <= at && at < m.end && m.inode != 0) else { continue };
        let file = map.path.rsplit('/').next().unwrap_or(&map.path);
        *name = format!("{file}+{:#x}", at - map.start + map.offset);
        paths.push(map.path.strip_suffix(" (deleted)").unwrap_or(&map.path));
    }
    // Files that cannot be read leave the addresses as they are.
    let wanted = |path: &std::path::Path| paths.iter().any(|p| path == std::path::Path::new(p));
    let (modules, _) =
        if paths.is_empty() { Default::default() } else { modules::of_process(pid, wanted).unwrap_or_default() };
    for module in &modules {
        let Ok(file) = object::File::parse(&*module.bytes) else { continue };
        for symbol in file.symbols().chain(file.dynamic_symbols()).filter(|s| s.kind() == SymbolKind::Text) {
            let at = symbol.address().wrapping_add(module.bias);
            if let (Some(name), Ok(found)) = (names.get_mut(&at), symbol.name())
                && !found.is_empty()
            {
                *name = names::demangle(found).chars().filter(|c| !c.is_control()).collect();
            }
        }
    }
    names
}
