//! What users name: switches, near and far.

use textpoke::{Error, Patcher, Refusal, Switch, Target};

use crate::arena::Arena;
use crate::isa;
use crate::storm::turn;

fn call(entry: u64, arg: u64) -> u64 {
    // SAFETY: generated code that keeps the calling convention.
    unsafe { std::mem::transmute::<u64, extern "C" fn(u64) -> u64>(entry)(arg) }
}

#[test]
fn a_switch_becomes_each_of_its_targets() {
    let _turn = turn();
    let mut arena = Arena::new(4096);
    let places @ [at, jumped, called] = (isa().switch)(&mut arena);
    let entry = at & !63;
    let text = arena.seal();
    // So far away that no branch of AArch64 and RISC-V reaches it; on x86-64 that is refused.
    let mut far = Arena::near(places[0] ^ 1 << 40, 4096);
    let [_, far_jumped, far_called] = (isa().switch)(&mut far);
    far.seal();
    let patcher = Patcher::new().unwrap();
    // SAFETY: generated code that can bear all forms.
    let mut switch = unsafe { Switch::from_raw(at as *const ()) }.unwrap();
    // SAFETY: as above.
    let targets = unsafe {
        [
            (Target::NOP, 1),
            (Target::jump(jumped as *const ()), 2),
            (Target::call(called as *const ()), 4),
            (Target::jump(far_jumped as *const ()), 2),
            (Target::call(far_called as *const ()), 4),
        ]
    };
    let reaches_far = std::env::consts::ARCH != "x86_64";
    for _ in 0..50 {
        for (i, (target, returns)) in targets.into_iter().enumerate() {
            match switch.set(&patcher, target) {
                Ok(()) => assert_eq!(call(entry, 0), returns, "target {i}"),
                Err(Error::Refused(_, Refusal::OutOfRange { .. })) if i > 2 && !reaches_far => {}
                Err(error) => panic!("target {i}: {error}"),
            }
        }
    }
    switch.set(&patcher, Target::NOP).unwrap();
    text.assert_untouched();
    // SAFETY: nothing is changed.
    let no_switch = unsafe { Switch::from_raw((jumped) as *const ()) };
    assert!(matches!(no_switch, Err(Error::Refused(_, Refusal::OldNotEmulated))), "{no_switch:?}");
}
