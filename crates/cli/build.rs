//! Builds the agent, which the program carries inside itself: `include_bytes!(env!("TEXTPOKE_AGENT"))`.

use std::path::Path;

#[path = "../../agent/embed.rs"]
mod embed;

fn main() {
    let [cargo, root, out] = ["CARGO", "CARGO_MANIFEST_DIR", "OUT_DIR"]
        .map(|name| std::env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}")));
    let crates = Path::new(&root).join("..");
    let agent = crates.join("../agent");
    // Everything that goes into it.
    for dir in [&agent, &crates.join("core"), &crates.join("cpu"), &crates.join("linux"), &crates.join("trace")] {
        for part in ["Cargo.toml", "src"] {
            println!("cargo:rerun-if-changed={}", dir.join(part).display());
        }
    }
    for part in ["build.rs", "Cargo.lock", "embed.rs", "link.ld"] {
        println!("cargo:rerun-if-changed={}", agent.join(part).display());
    }
    let [target, host] = ["TARGET", "HOST"].map(|name| std::env::var(name).expect("cargo sets it"));
    let foreign = (target != host).then_some(&*target);
    let image = embed::build(&cargo, foreign, &agent, &Path::new(&out).join("agent"));
    println!("cargo:rustc-env=TEXTPOKE_AGENT={}", image.display());
}
