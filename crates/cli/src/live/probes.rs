//! What to trace: functions of the wanted files, their sites, and what is left out with the reason.

use textpoke_analyze::{ExitEvent, ExitKind, Function, Image, Kind, Site};
use textpoke_attach::plan::{Jump, Probe};
use textpoke_attach::trampoline;

use super::modules::{Module, Unusable};
use crate::cmd::record::Wanted;
use crate::data::meta;

/// Everything that a recording needs to know of a program before it touches it.
#[derive(Debug, Default)]
pub struct Selection {
    /// Traced functions.
    pub functions: Vec<meta::Function>,
    /// Sites; the index is the number in the records.
    pub sites: Vec<meta::Site>,
    /// What was wanted and is not traced.
    pub refused: Vec<meta::Refused>,
    chosen: Vec<Chosen>,
}

#[derive(Debug)]
struct Chosen {
    site: Site,
    bias: u64,
    numbers: Vec<u32>,
}

impl Selection {
    /// Analyses the files and takes what is wanted of them.
    pub fn new(modules: &[Module], unusable: Vec<Unusable>, wanted: &Wanted) -> Self {
        let mut selection = Self::default();
        for file in unusable {
            let path = file.path.display().to_string();
            selection.refused.push(meta::Refused { name: "(all)".into(), file: path, reason: file.reason });
        }
        for module in modules {
            let path = module.path.display().to_string();
            match Image::parse(&module.bytes) {
                Ok(image) if image.isa().to_string() != std::env::consts::ARCH => {
                    let reason = format!("code for {} in a program for {}", image.isa(), std::env::consts::ARCH);
                    selection.refused.push(meta::Refused { name: "(all)".into(), file: path, reason });
                }
                Ok(image) => {
                    for function in image.functions() {
                        if function.kind == Kind::Function && function.names().any(|n| wanted.function(n)) {
                            selection.add(&function, module, &path);
                        }
                    }
                }
                Err(error) => {
                    let refused = meta::Refused { name: "(all)".into(), file: path, reason: error.to_string() };
                    selection.refused.push(refused);
                }
            }
        }
        selection
    }

    fn add(&mut self, function: &Function, module: &Module, path: &str) {
        let entry = match &function.entry {
            Ok(site) => site,
            Err(reason) => {
                let (name, file) = (function.name.clone(), path.to_owned());
                self.refused.push(meta::Refused { name, file, reason: reason.to_string() });
                return;
            }
        };
        let index = self.functions.len() as u32;
        self.functions.push(meta::Function {
            name: function.name.clone(),
            file: path.to_owned(),
            addr: function.vaddr.wrapping_add(module.bias),
            size: function.size,
            exit: match function.exit {
                _ if function.exit_in_entry().is_some() => meta::ExitKind::Patched,
                ExitKind::Patched => meta::ExitKind::Patched,
                ExitKind::Inferred => meta::ExitKind::Inferred,
                ExitKind::EntryOnly => meta::ExitKind::EntryOnly,
            },
        });
        let mut kinds = vec![meta::SiteKind::Entry];
        kinds.extend(function.exit_in_entry().map(kind_of));
        self.site(index, &kinds, entry, module);
        for exit in &function.exits {
            self.site(index, &[kind_of(exit.event)], &exit.site, module);
        }
    }

    fn site(&mut self, function: u32, kinds: &[meta::SiteKind], site: &Site, module: &Module) {
        let first = self.sites.len() as u32;
        self.sites.extend(kinds.iter().map(|&kind| meta::Site { function, kind }));
        let numbers = (first..self.sites.len() as u32).collect();
        self.chosen.push(Chosen { site: *site, bias: module.bias, numbers });
    }

    /// The sites as the tracer takes them, handed to `then`, because they borrow from here.
    pub fn with_probes<T>(&self, then: impl FnOnce(&[Probe<'_>]) -> T) -> T {
        let made: Vec<(Box<Relocate<'_>>, Box<MakeJump<'_>>)> =
            self.chosen.iter().map(|chosen| (chosen.relocator(), chosen.jumper())).collect();
        let probes: Vec<Probe<'_>> = self
            .chosen
            .iter()
            .zip(&made)
            .map(|(chosen, (relocate, jump))| Probe {
                sites: chosen.numbers.clone(),
                kind: if chosen.site.red_zone { trampoline::Kind::Exit } else { trampoline::Kind::Entry },
                addr: chosen.site.vaddr.wrapping_add(chosen.bias),
                old: chosen.site.bytes()[..chosen.site.patched()].to_vec(),
                inner: chosen.site.inner,
                relocate,
                jump,
            })
            .collect();
        then(&probes)
    }

    /// Takes note that some sites could not be reached or copied after all: their functions' exits are inferred, and a
    /// function without its entry is not traced.
    pub fn refuse_sites(&mut self, refused: &[(u32, String)]) {
        for (index, reason) in refused {
            let Some(site) = self.sites.get(*index as usize) else { continue };
            let Some(function) = self.functions.get_mut(site.function as usize) else { continue };
            if site.kind == meta::SiteKind::Entry {
                let (name, file) = (function.name.clone(), function.file.clone());
                self.refused.push(meta::Refused { name, file, reason: reason.clone() });
            }
            if function.exit == meta::ExitKind::Patched {
                function.exit = meta::ExitKind::Inferred;
            }
        }
    }
}

type Relocate<'a> = dyn Fn(u64) -> Result<trampoline::Copy, String> + 'a;
type MakeJump<'a> = dyn Fn(u64) -> Result<Jump, String> + 'a;

impl Chosen {
    fn relocator(&self) -> Box<Relocate<'_>> {
        Box::new(|dest| {
            let copy = self.site.relocate(self.bias, dest).map_err(|e| e.to_string())?;
            Ok(trampoline::Copy { bytes: copy.bytes, at: copy.at })
        })
    }

    fn jumper(&self) -> Box<MakeJump<'_>> {
        Box::new(|to| {
            let jump = self.site.jump_to(self.bias, to).map_err(|e| e.to_string())?;
            Ok(Jump { bytes: jump.bytes, inner: jump.new_inner })
        })
    }
}

fn kind_of(event: ExitEvent) -> meta::SiteKind {
    match event {
        ExitEvent::Return => meta::SiteKind::Return,
        ExitEvent::TailJump => meta::SiteKind::TailJump,
    }
}
