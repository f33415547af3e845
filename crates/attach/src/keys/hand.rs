//! A hand inside the process: a newborn sidecar, held stopped, and a page of code in which it performs what cannot be done
//! from outside: atomic operations on the program's memory, and system calls.
//!
//! It lives for one flip and dies with this process, however that ends. That makes it the right holder of the engine's
//! lock: it has a number in the program's own PID namespace, by which the program's threads see that it is gone.

use crate::arch;
use crate::error::Error;
use crate::inject::{Embryo, borrow_thread, peek, poke};
use crate::keeper::Keeper;
use crate::place;
use crate::proc;
use textpoke_trace::Layout;
use textpoke_trace::table::SITE_COPY;

use super::holder;
use super::words::{self, Words};

/// `lock cmpxchg [rdi], esi` with the value expected in EDX; what was there ends in R8.
const EXCHANGE_IF: &[u8] = &[0x89, 0xd0, 0xf0, 0x0f, 0xb1, 0x37, 0x49, 0x89, 0xc0];
/// `xchg [rdi], esi`; what was there ends in R8.
const EXCHANGE: &[u8] = &[0x87, 0x37, 0x49, 0x89, 0xf0];
/// `mov [rdi], rsi`
const STORE: &[u8] = &[0x48, 0x89, 0x37];
/// For each address, number expected and new number from RDI up to RSI the first of these; what was there takes the place
/// of what was expected. `mov rcx,[rdi]; mov eax,[rdi+8]; mov edx,[rdi+12]; lock cmpxchg [rcx],edx; mov [rdi+8],eax;
/// add rdi,16; cmp rdi,rsi; jb` to the beginning.
const EXCHANGE_ALL: &[u8] = &[
    0x48, 0x8b, 0x0f, 0x8b, 0x47, 0x08, 0x8b, 0x57, 0x0c, 0xf0, 0x0f, 0xb1, 0x11, 0x89, 0x47, 0x08, 0x48, 0x83, 0xc7,
    0x10, 0x48, 0x39, 0xf7, 0x72, 0xe7,
];
/// For each address and value from RDI up to RSI the third of these. `mov rcx,[rdi]; mov rdx,[rdi+8]; mov [rcx],rdx;
/// add rdi,16; cmp rdi,rsi; jb` to the beginning.
const STORE_ALL: &[u8] =
    &[0x48, 0x8b, 0x0f, 0x48, 0x8b, 0x57, 0x08, 0x48, 0x89, 0x11, 0x48, 0x83, 0xc7, 0x10, 0x48, 0x39, 0xf7, 0x72, 0xed];
/// `mov eax, 39; syscall`: getpid, where it is stopped.
const STOP: &[u8] = &[0xb8, 39, 0, 0, 0, 0x0f, 0x05];
/// What is said where there is no such code.
const ELSEWHERE: Error =
    Error::Unsupported("keys are flipped from outside on x86-64 only; here the program has to flip them itself");
/// Distance of one piece of code from the next.
const PIECE: u64 = 32;
/// Bytes of an entry of a list.
const PAIR: usize = 16;
const PAGE: u64 = 4096;

/// The hand.
pub struct Hand {
    embryo: Embryo,
    code: u64,
    /// Changes that there is room for.
    room: usize,
    /// Its number as the process itself sees it.
    tid: u32,
    /// Its start time, likewise.
    started: u64,
}

impl Hand {
    /// Puts a hand into the process, with room to list this many changes.
    ///
    /// # Errors
    /// The process is as before.
    pub fn new(keeper: &mut Keeper, changes: usize) -> Result<Self, Error> {
        if !arch::KEYS {
            return Err(ELSEWHERE);
        }
        // The changes, and behind them what the loops work on.
        let capacity = (2 * changes * PAIR).div_ceil(textpoke_trace::layout::SITE_BYTES).max(1);
        let layout = Layout::new(capacity, 1, textpoke_trace::layout::MIN_RING_BYTES)
            .ok_or(Error::Unsupported("too many keys at once; flip fewer"))?;
        let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
        let (code, table) = place::private(&maps)?;
        let mut parent = borrow_thread(keeper)?;
        let born = Embryo::conceive(keeper, &mut parent, &layout, table);
        parent.give_back(keeper)?;
        let hand = Self::around(keeper, born?, code)?;
        Ok(Self { room: changes, ..hand })
    }

    /// Makes a hand of a newborn sidecar, with its code at `code`.
    ///
    /// # Errors
    /// The sidecar is gone again.
    pub fn around(keeper: &mut Keeper, mut embryo: Embryo, code: u64) -> Result<Self, Error> {
        if !arch::KEYS {
            return Err(embryo.abandon(keeper, ELSEWHERE));
        }
        let mut page = Vec::new();
        for piece in [EXCHANGE_IF, EXCHANGE, STORE, EXCHANGE_ALL, STORE_ALL] {
            page.extend_from_slice(piece);
            page.extend_from_slice(STOP);
            page.resize(page.len().next_multiple_of(PIECE as usize), 0xcc);
        }
        let equipped = embryo.map_code(keeper, code, &page).and_then(|()| embryo.register_membarrier(keeper));
        if let Err(e) = equipped {
            return Err(embryo.abandon(keeper, e));
        }
        let started = holder::start_time_inside(keeper.pid(), embryo.tid());
        let tid = proc::inner_pid(embryo.tid()) as u32;
        Ok(Self { embryo, code, room: 0, tid, started })
    }

    /// Its thread id as the process sees it.
    pub fn tid(&self) -> u32 {
        self.tid
    }

    /// Its start time as the process sees it.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// If `at` holds `old`, it holds `new` afterwards; the answer is what it held. The address is writable memory.
    ///
    /// # Errors
    /// The hand was lost.
    pub fn exchange_if(&mut self, keeper: &mut Keeper, at: u64, old: u32, new: u32) -> Result<u32, Error> {
        self.embryo.execute(keeper, self.code, [at, u64::from(new), u64::from(old)]).map(|r8| r8 as u32)
    }

    /// Stores `new` and answers what was there.
    ///
    /// # Errors
    /// The hand was lost.
    pub fn exchange(&mut self, keeper: &mut Keeper, at: u64, new: u32) -> Result<u32, Error> {
        self.embryo.execute(keeper, self.code + PIECE, [at, u64::from(new), 0]).map(|r8| r8 as u32)
    }

    /// One store of eight bytes.
    ///
    /// # Errors
    /// The hand was lost.
    pub fn store(&mut self, keeper: &mut Keeper, at: u64, value: u64) -> Result<(), Error> {
        self.embryo.execute(keeper, self.code + 2 * PIECE, [at, value, 0]).map(drop)
    }

    /// Every CPU that runs the process passes a context synchronising point.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn sync_cores(&mut self, keeper: &mut Keeper) -> Result<(), Error> {
        self.embryo.sync_cores(keeper)
    }

    /// Gives page ranges (start, end, `PROT_*`) these protections.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn protect(&mut self, keeper: &mut Keeper, ranges: &[(u64, u64, u64)]) -> Result<(), Error> {
        self.embryo.protect(keeper, ranges)
    }

    /// Wakes somebody who sleeps on a word.
    ///
    /// # Errors
    /// The hand was lost.
    pub fn wake(&mut self, keeper: &mut Keeper, at: u64) -> Result<(), Error> {
        let args = [at, libc::FUTEX_WAKE as u64, 1, 0, 0, 0];
        self.embryo.call(keeper, "futex", libc::SYS_futex, args).map(drop)
    }

    /// For each address that holds the first number it holds the second afterwards; the answers are what they held. Not
    /// more than there is room for.
    ///
    /// # Errors
    /// The hand was lost.
    pub fn exchange_all(&mut self, keeper: &mut Keeper, all: &[(u64, u32, u32)]) -> Result<Vec<u32>, Error> {
        let pairs: Vec<_> = all.iter().map(|&(at, old, new)| (at, u64::from(old) | u64::from(new) << 32)).collect();
        let at = self.loop_over(keeper, 3, &pairs)?;
        let mut bytes = vec![0; pairs.len() * PAIR];
        peek(keeper, at, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<PAIR>();
        Ok(words.iter().map(|w| u32::from_le_bytes([w[8], w[9], w[10], w[11]])).collect())
    }

    /// One store of eight bytes to each address. Not more than there is room for.
    ///
    /// # Errors
    /// The hand was lost.
    pub fn store_all(&mut self, keeper: &mut Keeper, all: &[(u64, u64)]) -> Result<(), Error> {
        self.loop_over(keeper, 4, all).map(drop)
    }

    fn loop_over(&mut self, keeper: &mut Keeper, piece: u64, pairs: &[(u64, u64)]) -> Result<u64, Error> {
        let at = self.lists() + (self.room * PAIR) as u64;
        if pairs.len() > self.room {
            return Err(Error::Unsupported("more keys than was said"));
        }
        if !pairs.is_empty() {
            poke(keeper, at, &bytes_of(pairs))?;
            let end = at + (pairs.len() * PAIR) as u64;
            self.embryo.execute(keeper, self.code + piece * PIECE, [at, end, 0])?;
        }
        Ok(at)
    }

    /// Lists changes in memory of the process, and answers where.
    ///
    /// # Errors
    /// The memory could not be written.
    pub fn list(&self, keeper: &Keeper, changes: &[(u64, u64)]) -> Result<u64, Error> {
        poke(keeper, self.lists(), &bytes_of(changes))?;
        Ok(self.lists())
    }

    fn lists(&self) -> u64 {
        self.embryo.table() + SITE_COPY as u64
    }

    /// The engine words, made if the process has none.
    ///
    /// # Errors
    /// All places are taken, or the kernel refused.
    pub fn words(&mut self, keeper: &mut Keeper) -> Result<Words, Error> {
        let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
        if let Some(words) = Words::find(keeper.pid(), keeper.memory(), &maps) {
            return Ok(words);
        }
        for at in words::places(keeper.pid())? {
            match self.make_words(keeper, at) {
                Ok(()) => return Ok(Words::at(at)),
                // The program's own library makes them at this moment.
                Err(Error::Remote(_, libc::EEXIST)) if self.awaited(keeper, at)? => return Ok(Words::at(at)),
                // Taken, or behind the end of the address space.
                Err(Error::Remote(..)) => {}
                Err(e) => return Err(e),
            }
        }
        Err(Error::Unsupported("the address space around the program is full: no room for the engine's lock"))
    }

    /// Who comes first makes them; the mark is the last thing stored.
    fn make_words(&mut self, keeper: &mut Keeper, at: u64) -> Result<(), Error> {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE);
        let args = [at, words::BYTES, prot as u64, flags as u64, u64::MAX, 0];
        let got = self.embryo.call(keeper, "mmap", libc::SYS_mmap, args)?;
        let wipe = [at + PAGE, PAGE, libc::MADV_WIPEONFORK as u64, 0, 0, 0];
        let wiped = match got == at {
            true => self.embryo.call(keeper, "madvise", libc::SYS_madvise, wipe).map(drop),
            // A kernel before 4.17 takes the address for a hint.
            false => Err(Error::Remote("mmap", libc::EEXIST)),
        };
        if let Err(e) = wiped {
            self.embryo.call(keeper, "munmap", libc::SYS_munmap, [got, words::BYTES, 0, 0, 0, 0])?;
            return Err(e);
        }
        poke(keeper, Words::at(at).fork_mark(), &words::KNOWN.to_le_bytes())?;
        self.store(keeper, Words::at(at).mark(), words::mark())
    }

    /// Whether what stands in the way is the words, perhaps just being made.
    fn awaited(&self, keeper: &mut Keeper, at: u64) -> Result<bool, Error> {
        for _ in 0..1000 {
            match words::word(keeper.memory(), at) {
                Ok(mark) if mark == words::mark() => return Ok(true),
                Ok(0) => {
                    keeper.pump()?;
                    std::thread::sleep(std::time::Duration::from_micros(20));
                }
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Takes the hand out, and unmaps `leftovers` of hands that were killed.
    ///
    /// # Errors
    /// The process ended meanwhile.
    pub fn leave(self, keeper: &mut Keeper, leftovers: &[(u64, u64)]) -> Result<(), Error> {
        let code = (self.code, self.code + PAGE);
        self.embryo.leave(keeper, |keeper, remote| {
            let all = std::iter::once(&code).chain(leftovers);
            all.copied().try_for_each(|(start, end)| crate::inject::unmap(keeper, remote, start, end - start))
        })
    }

    /// Gives the sidecar back for other work; the code is unmapped.
    ///
    /// # Errors
    /// The process ended meanwhile.
    pub fn into_embryo(mut self, keeper: &mut Keeper) -> Result<Embryo, Error> {
        self.embryo.call(keeper, "munmap", libc::SYS_munmap, [self.code, PAGE, 0, 0, 0, 0])?;
        Ok(self.embryo)
    }

    /// Reads memory of the process.
    ///
    /// # Errors
    /// It is not there.
    pub fn read<const N: usize>(&self, keeper: &Keeper, at: u64) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        peek(keeper, at, &mut bytes)?;
        Ok(bytes)
    }
}

fn bytes_of(pairs: &[(u64, u64)]) -> Vec<u8> {
    pairs.iter().flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()]).flatten().collect()
}
