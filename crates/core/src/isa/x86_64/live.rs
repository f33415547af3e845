//! What may change while other CPUs execute it.

/// INT3 over the first byte of an instruction, or that byte back in its place; nothing else.
///
/// | source | what it lets change |
/// |---|---|
/// | Intel SDM vol. 3, "Handling Self- and Cross-Modifying Code" | nothing: a CPU must execute a serialising instruction between the store and the new code |
/// | Intel's microarchitects, unofficially (linux-kernel, 2006 and 2010) | the one byte of INT3 |
/// | AMD APM vol. 2, 7.6.1 | one store inside one naturally aligned quadword |
///
/// The byte is in both columns and cannot be seen in halves. AMD's rule is a property of the CPU and not of the
/// instruction set: [`Choice::word`](crate::Choice) carries it.
pub(super) fn live(old: &[u8], new: &[u8]) -> bool {
    let (Some((&a, old_tail)), Some((&b, new_tail))) = (old.split_first(), new.split_first()) else { return false };
    old_tail == new_tail && a != b && (a == 0xcc || b == 0xcc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_trap_comes_and_goes() {
        let nop: &[u8] = &[0x0f, 0x1f, 0x44, 0, 0];
        let trap: &[u8] = &[0xcc, 0x1f, 0x44, 0, 0];
        assert!(live(nop, trap) && live(trap, nop));
        assert!(!live(nop, &[0xe9, 0x1f, 0x44, 0, 0]), "one byte, but not the trap");
        assert!(!live(nop, &[0xcc, 0x1f, 0x44, 0, 1]), "the tail too");
        assert!(!live(nop, &[0x0f, 0xcc, 0x44, 0, 0]), "not the first byte");
        assert!(!live(nop, &trap[..4]) && !live(&[], &[]) && !live(trap, trap));
        assert!(live(&[0x90], &[0xcc]));
    }
}
