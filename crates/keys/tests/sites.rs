//! What the macros leave in a program.
use textpoke_keys::{
    call, read_imm, static_branch_likely, static_branch_unlikely, static_call, static_imm, static_key,
};

enum Mine {}
static_key! {
    in Mine;
    static OFF: bool = false;
    static ON: bool = true;
    static MANY: [bool; 3] = false;
}
static_imm! {
    in Mine;
    static LIMIT: u32 = 100;
    static BIG: i64 = -2;
}
extern "C" fn add(a: u32, b: u64) -> u64 {
    u64::from(a) + b
}
static_call! {
    in Mine;
    static ADD: extern "C" fn(u32, u64) -> u64 = add;
    static NONE: extern "C" fn(*const u32) -> u32 = None;
}
#[test]
fn defaults() {
    assert!(!static_branch_unlikely!(OFF) && !static_branch_likely!(OFF));
    assert!(static_branch_unlikely!(ON) && static_branch_likely!(ON));
    assert!(!static_branch_unlikely!(MANY[2]) && !static_branch_likely!(self::MANY[0]));
    assert_eq!(read_imm!(LIMIT), 100);
    assert_eq!(read_imm!(BIG), -2);
    assert_eq!(call!(ADD(2, 40)), 42);
    assert_eq!(call!(NONE(&3)), 0);
}
