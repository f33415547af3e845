//! Signal frames: a handler's frame begins with its return address, the code that makes the system call `rt_sigreturn`
//! and nothing else (Linux `struct rt_sigframe`; unwinders know signal frames by the same bytes). Then `ucontext`: flags,
//! link, stack (3 words), and 16 registers before RIP, of which RSP is the last.

use std::fs::File;
use std::os::unix::fs::FileExt;

const PC: u64 = 8 + 8 + 8 + 24 + 16 * 8;
const SP: usize = PC as usize - 8;
/// Bytes of a frame that [`saved_stack`] wants to see.
pub const SEEN: usize = SP + 8;

/// Whether the word at `place` stands where a signal frame has the PC.
pub fn is_saved_pc(memory: &File, place: u64) -> bool {
    const MOV_RAX: &[u8] = &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
    const MOV_EAX: &[u8] = &[0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05];
    let mut word = [0; 8];
    let Some(frame) = place.checked_sub(PC) else { return false };
    if memory.read_exact_at(&mut word, frame).is_err() {
        return false;
    }
    let mut code = [0; 13];
    if memory.read_exact_at(&mut code, u64::from_le_bytes(word)).is_err() {
        return false;
    }
    // Behind an ENDBR64 in some libraries.
    let code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(&code);
    code.starts_with(MOV_RAX) || code.starts_with(MOV_EAX)
}

/// If a signal frame begins with these bytes: the stack pointer of the code that was interrupted. `restorer` is the code
/// that handlers return to, as far as it is known.
pub fn saved_stack(bytes: &[u8], restorer: Option<u64>) -> Option<u64> {
    let word = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    (word(0) == Some(restorer?)).then(|| word(SP))?
}
