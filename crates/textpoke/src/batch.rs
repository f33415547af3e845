//! Many patches at once.

use textpoke_core::{Direction, Site};

use crate::{Error, Patch, Patcher};

/// Patches that are installed together: all or none.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    sites: Vec<Site>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a patch, in any order.
    pub fn push(&mut self, patch: Patch) -> &mut Self {
        self.sites.push(patch.site);
        self
    }

    /// Number of patches.
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Installs all patches, by one protocol that suits them all. When it returns, every thread executes the new
    /// instructions.
    ///
    /// # Errors
    /// [`Error::Plan`] when two sites overlap or there are none; [`Error::Process`] with a verdict when something else
    /// stood at a site than its old bytes, or a step failed. All sites are as they were then, unless the verdict says
    /// that this failed too.
    pub fn install(mut self, patcher: &Patcher) -> Result<Installed, Error> {
        self.sites.sort_by_key(|site| site.addr);
        // SAFETY: each site comes from a `Patch`, whose maker promised this.
        unsafe { patcher.apply(&self.sites, Direction::Install) }?;
        Ok(Installed { sites: self.sites })
    }
}

impl Extend<Patch> for Batch {
    fn extend<I: IntoIterator<Item = Patch>>(&mut self, patches: I) {
        self.sites.extend(patches.into_iter().map(|patch| patch.site));
    }
}

/// Installed patches. Dropping it leaves them installed.
#[derive(Debug)]
#[must_use = "without it the patches cannot be removed"]
pub struct Installed {
    sites: Vec<Site>,
}

impl Installed {
    /// Puts the old bytes back everywhere. When it returns, every thread executes them.
    ///
    /// # Errors
    /// As [`Batch::install`], with what is still installed.
    pub fn remove(self, patcher: &Patcher) -> Result<(), (Self, Error)> {
        // SAFETY: as in `install`.
        match unsafe { patcher.apply(&self.sites, Direction::Remove) } {
            Ok(()) => Ok(()),
            Err(error) => Err((self, error)),
        }
    }
}
