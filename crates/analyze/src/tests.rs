//! Tests on literal bytes: one for each reason, each form of a copy, each kind of broken file.

mod aarch64;
mod copies;
mod exits;
mod headers;
mod reasons;
mod riscv64;

use crate::testfile::File;
use crate::{Function, Image, Reason, Site};

/// What is said of the function `f` of a file.
fn analyse(file: &File) -> Function {
    let bytes = file.build();
    let functions = Image::parse(&bytes).expect("the file is well-formed").functions();
    functions.into_iter().find(|f| f.names().any(|n| n == "f")).expect("there is a function f")
}

/// What is said of the entry of a function with these bytes and nothing behind it but a `ret`.
fn entry(code: &[u8]) -> Result<Site, Reason> {
    let mut bytes = code.to_vec();
    bytes.push(0xc3);
    analyse(&File::new(&bytes).function("f", 0, code.len() as u64)).entry
}
