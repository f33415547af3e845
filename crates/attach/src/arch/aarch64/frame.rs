//! Signal frames: siginfo (128 bytes), then `ucontext`: flags, link, stack (3 words), the mask (16 words), on a multiple of
//! 16 the registers, of which the stack pointer and the program counter come behind X0 to X30, and records, of which the
//! first that the kernel writes is that of the vector registers (Linux `struct rt_sigframe`, `setup_sigframe_layout`).

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes in front of the context.
pub const INFO: usize = 128;
/// Offset of X0.
pub const X0: usize = INFO + 176 + 8;
/// Offset of the stack pointer.
pub const SP: usize = X0 + 31 * 8;
/// Offset of the program counter.
pub const PC: usize = SP + 8;
/// Offset of the first record.
pub const RECORDS: usize = INFO + 176 + 288;
/// `FPSIMD_MAGIC`, and bytes of that record.
pub const VECTORS: (u32, u32) = (0x4650_8001, 528);
/// Bytes of a frame that [`saved_stack`] wants to see.
pub const SEEN: usize = RECORDS + 8;

/// Whether the word at `place` stands where a signal frame has the PC.
pub fn is_saved_pc(memory: &File, place: u64) -> bool {
    let mut frame = [0; SEEN];
    let Some(start) = place.checked_sub(PC as u64) else { return false };
    memory.read_exact_at(&mut frame, start).is_ok() && is_frame(&frame)
}

/// If a signal frame begins with these bytes: the stack pointer of the code that was interrupted. Handlers return to a
/// register's address, which need not be on the stack.
pub fn saved_stack(bytes: &[u8], _restorer: Option<u64>) -> Option<u64> {
    is_frame(bytes).then(|| bytes.get(SP..)?.first_chunk().map(|&word| u64::from_le_bytes(word)))?
}

fn is_frame(bytes: &[u8]) -> bool {
    let record = bytes.get(RECORDS..).and_then(<[u8]>::first_chunk);
    record.is_some_and(|&record| u64::from_le_bytes(record) == u64::from(VECTORS.0) | u64::from(VECTORS.1) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_layout_is_that_of_the_c_library() {
        let context = INFO + offset_of!(libc::ucontext_t, uc_mcontext);
        assert_eq!(X0, context + offset_of!(libc::mcontext_t, regs));
        assert_eq!(SP, context + offset_of!(libc::mcontext_t, sp));
        assert_eq!(PC, context + offset_of!(libc::mcontext_t, pc));
        assert_eq!(INFO, size_of::<libc::siginfo_t>());
    }

    #[test]
    fn a_frame_is_known_by_its_first_record() {
        let mut bytes = vec![0; SEEN];
        assert_eq!(saved_stack(&bytes, None), None);
        bytes[SP..SP + 8].copy_from_slice(&0x1234_u64.to_le_bytes());
        bytes[RECORDS..RECORDS + 4].copy_from_slice(&VECTORS.0.to_le_bytes());
        bytes[RECORDS + 4..].copy_from_slice(&VECTORS.1.to_le_bytes());
        assert_eq!(saved_stack(&bytes, None), Some(0x1234));
    }
}
