//! The real agent image, and damaged ones.

#![allow(unsafe_code, reason = "shared with tests that need it")]

mod rig;

use textpoke_attach::image::Image;

/// Offsets in an ELF header and a program header of 64 bits.
const MACHINE: usize = 18;
const PROGRAM_HEADERS: usize = 32;
const FLAGS: usize = 4;

fn refused(elf: &[u8], why: &str) {
    let error = Image::load(elf).expect_err(why).to_string();
    assert!(error.contains(why), "{error}");
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut elf = rig::agent().to_vec();
    elf[at..at + bytes.len()].copy_from_slice(bytes);
    elf
}

fn find(what: &[u8]) -> usize {
    rig::agent().windows(what.len()).position(|w| w == what).expect("it is there")
}

#[test]
fn the_agent_is_small_self_contained_and_fits_anywhere() {
    let image = Image::load(rig::agent()).unwrap();
    assert!(image.len() < 128 << 10, "{} bytes", image.len());
    let (low, high) = (image.at(0x1000).unwrap(), image.at(0x7fff_0000_0000).unwrap());
    assert_eq!((low.len(), high.len()), (image.len(), image.len()));
    for at in [image.probe_entry(), image.probe_exit(), image.trap_handler(), image.restorer(), image.agent_main()] {
        assert!((0x1000..image.len() as u64).contains(&at), "code begins behind the parameters");
        let at = at as usize;
        assert_eq!(low[at..at + 9], high[at..at + 9], "nothing in assembly depends on the address");
    }
    assert_eq!(image.params(), 0);
    assert_eq!(low[..0x1000], [0; 0x1000]);
    // Unwinders know a signal frame by these bytes at its return address.
    assert_eq!(low[image.restorer() as usize..][..9], [0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05]);
}

#[test]
fn the_probes_are_the_same_code_wherever_the_image_is_mapped() {
    // Trampoline areas far from one another begin with the same pages, relocated for the first of them only.
    let image = Image::load(rig::agent()).unwrap();
    let (a, b) = (image.at(0x1000).unwrap(), image.at(0x7fff_0000_0000).unwrap());
    let relocated = (0..image.len()).filter(|&i| a[i] != b[i]);
    let probes = image.probe_entry()..image.agent_main();
    assert_eq!(relocated.filter(|&i| probes.contains(&(i as u64))).count(), 0);
}

#[test]
fn an_image_stands_on_a_page_inside_the_address_space() {
    let image = Image::load(rig::agent()).unwrap();
    assert!(image.at(0x1001).is_err());
    assert!(image.at(u64::MAX - 0xfff).is_err());
}

#[test]
fn what_is_not_the_agent_is_refused() {
    refused(b"not an ELF file", "unusable");
    refused(&with(MACHINE, &183u16.to_le_bytes()), "another machine");
    refused(&with(find(b"textpoke_trap\0"), b"T"), "no textpoke_trap");
    refused(&with(find(b"textpoke_params\0"), b"T"), "no textpoke_params");
    let headers = u64::from_le_bytes(rig::agent()[PROGRAM_HEADERS..][..8].try_into().unwrap()) as usize;
    refused(&with(headers + FLAGS, &7u32.to_le_bytes()), "writable segment");
    // Two bytes more in memory than in the file.
    let size = u64::from_le_bytes(rig::agent()[headers + 40..][..8].try_into().unwrap());
    refused(&with(headers + 40, &(size + 2).to_le_bytes()), "zeroed data");
}

#[test]
fn truncated_and_scrambled_files_are_refused_or_read_but_never_panic() {
    let agent = rig::agent();
    for len in (0..agent.len()).step_by(61) {
        let _ = Image::load(&agent[..len]);
    }
    let mut random = 1u64;
    for _ in 0..2000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (random >> 33) as usize % agent.len();
        if let Ok(image) = Image::load(&with(at, &[(random >> 20) as u8])) {
            let _ = image.at(0x40_0000);
        }
    }
}
