//! The copies of x86-64 sites, with a counter in front.

use textpoke_analyze::{Ends, Reason, Site};

/// Only the address that a call pushes is absolute, which a file with a load bias cannot know: there it is computed.
pub fn copy(at: u64, counter: u64, site: &Site, shared: bool) -> Result<Vec<u8>, Reason> {
    let mut copies = count(at, counter);
    let dest = at + copies.len() as u64;
    let made = site.relocate(0, dest)?;
    if !shared || site.ends != Ends::Call {
        copies.extend(made.bytes);
        return Ok(copies);
    }
    let call = usize::from(*made.at.iter().filter(|&&at| at != 0xff).max().expect("an instruction"));
    copies.extend(&made.bytes[..call]);
    assert_eq!(made.bytes[call], 0x68, "addresses as linked fit a push");
    // push rax; push rax; lea rax,[rip+x]; mov [rsp+8],rax; pop rax
    copies.extend([0x50, 0x50, 0x48, 0x8d, 0x05]);
    let returns = site.vaddr + site.code().len() as u64;
    let here = at + copies.len() as u64 + 4;
    copies.extend(i32::try_from(returns as i64 - here as i64).expect("near").to_le_bytes());
    copies.extend([0x48, 0x89, 0x44, 0x24, 0x08, 0x58]);
    let longer = 15 - 5;
    copies.extend(&site.relocate(0, dest + longer)?.bytes[call + 5..]);
    Ok(copies)
}

/// `lea rsp,[rsp-128]; pushf; lock inc qword [rip+x]; popf; lea rsp,[rsp+128]`
fn count(at: u64, counter: u64) -> Vec<u8> {
    let mut code = vec![0x48, 0x8d, 0x64, 0x24, 0x80, 0x9c, 0xf0, 0x48, 0xff, 0x05];
    let end = at + code.len() as u64 + 4;
    code.extend(i32::try_from(counter as i64 - end as i64).expect("near").to_le_bytes());
    code.extend([0x9d, 0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0]);
    code
}
