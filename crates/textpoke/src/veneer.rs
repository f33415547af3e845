//! Veneers: code near a site that jumps to what the site's own branch does not reach.
//!
//! They are made once for each target and neighbourhood and stay for good, because threads may be in them.

use std::sync::{Mutex, PoisonError};

use textpoke_core::isa::switch::Switch as Forms;
use textpoke_core::{Refusal, Site};
use textpoke_linux::process::Error as ProcessError;
use textpoke_linux::sys::{self, flags};
use textpoke_linux::text::Window;
use textpoke_linux::{Host, Prot, Range, code, maps};

use crate::{Error, Patcher};

/// Bytes from one veneer to the next.
const STRIDE: u64 = 24;
/// Bytes that are mapped at a time: a page of the largest size, or many of the smallest.
const BLOCK: u64 = 0x1_0000;

struct Block {
    start: u64,
    /// Where its veneers lead to.
    targets: Vec<u64>,
}

static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// The address of code within reach of `site` that jumps to `to`.
///
/// The patcher shows that the process is registered for synchronisation.
pub(crate) fn near(_: &Patcher, site: u64, to: u64) -> Result<u64, Error> {
    let out_of_range = Error::Refused(site, Refusal::OutOfRange { from: site, to });
    let veneer = Host::veneer(to).ok_or(out_of_range)?;
    let mut blocks = BLOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    let reached = |block: &Block| block.start.abs_diff(site) + BLOCK < Host::REACH;
    let known = |block: &Block| {
        let i = block.targets.iter().position(|&target| target == to)?;
        Some(block.start + STRIDE * i as u64)
    };
    if let Some(at) = blocks.iter().filter(|block| reached(block)).find_map(known) {
        return Ok(at);
    }
    let free = |block: &Block| reached(block) && (block.targets.len() as u64 + 1) * STRIDE <= BLOCK;
    let i = match blocks.iter().position(free) {
        Some(i) => i,
        None => {
            let start = room(site)?.ok_or(out_of_range)?;
            blocks.push(Block { start, targets: Vec::new() });
            blocks.len() - 1
        }
    };
    let block = &mut blocks[i];
    let at = block.start + STRIDE * block.targets.len() as u64;
    write(block.start, at, &veneer.bytes)?;
    block.targets.push(to);
    Ok(at)
}

/// Maps a block that the site reaches, if there is room for one.
fn room(site: u64) -> Result<Option<u64>, Error> {
    let setup = |what| move |errno| Error::from(ProcessError::Setup(what, errno));
    let mappings = maps::read().map_err(setup("/proc/self/maps"))?;
    let how = flags::MAP_PRIVATE | flags::MAP_ANONYMOUS | flags::MAP_FIXED_NOREPLACE;
    let free = |at: u64| {
        // One block more in front of what follows, which may be a stack that grows.
        let i = mappings.partition_point(|mapping| mapping.range.end <= at);
        mappings.get(i).is_none_or(|mapping| at + 2 * BLOCK <= mapping.range.start)
    };
    let here = site & !(BLOCK - 1);
    // The nearest first, then some at a distance: what looks free may not be.
    let distances = (1..64).map(|n| n * BLOCK).chain((64..Host::REACH / BLOCK).step_by(16).map(|n| n * BLOCK));
    let places = distances.flat_map(|d| [here.checked_sub(d), here.checked_add(d)]).flatten();
    let places = places.filter(|&at| at >= BLOCK && at.abs_diff(site) + BLOCK < Host::REACH && free(at));
    for at in places {
        // SAFETY: replaces nothing.
        match unsafe { sys::mmap(at, BLOCK, Prot::RX.0, how, -1, 0) } {
            Ok(got) if got == at => return Ok(Some(at)),
            // SAFETY: a kernel before 4.17 takes the address for a hint; nobody knows of the mapping.
            Ok(got) => unsafe { sys::munmap(got, BLOCK) }.map_err(setup("munmap"))?,
            Err(_) => {}
        }
    }
    Ok(None)
}

/// Puts a new veneer into a block. Others of it may be executed meanwhile, which nothing happens to.
fn write(block: u64, at: u64, bytes: &[u8; STRIDE as usize]) -> Result<(), Error> {
    let setup = |errno| Error::from(ProcessError::Setup("making a veneer", errno));
    let range = [Range::new(block, block + BLOCK, Prot::RX)];
    let places: Vec<Site> = (0..3).filter_map(|i| Site::single(at + 8 * i, &[0; 8], &[0; 8])).collect();
    // SAFETY: the block is mapped like that, by us.
    let window = unsafe { Window::open(&range, &places) }.map_err(setup)?;
    for (i, word) in bytes.chunks(8).enumerate() {
        // SAFETY: in the window; nobody knows this address yet.
        unsafe { window.store(at + 8 * i as u64, word, textpoke_core::Unit::Eight) };
    }
    window.close().map_err(setup)?;
    code::ready(at, STRIDE).map_err(setup)
}
