//! Every dependency has a licence that the project accepts, and comes from the registry or this repository.
//!
//! The list is in `deny.toml`, so that cargo-deny, which checks more, agrees with this; but a fresh
//! machine has no cargo-deny, and a rule that is only checked sometimes is none.

use crate::workspace::Workspace;
use serde_json::Value;

pub fn run(workspace: &Workspace) -> Result<(), String> {
    let path = workspace.root().join("deny.toml");
    let policy = std::fs::read_to_string(&path).map_err(|error| format!("cannot read deny.toml: {error}"))?;
    let allowed = allowed(&policy).ok_or("deny.toml has no list `allow = [...]` under [licenses]")?;
    let mut manifests = vec!["Cargo.toml"];
    if workspace.agent_manifest().exists() {
        manifests.push("agent/Cargo.toml");
    }
    let (mut count, mut problems) = (0, Vec::new());
    for manifest in manifests {
        let args = ["metadata", "--format-version", "1", "--manifest-path", manifest];
        let output = workspace.cargo(&args).output().map_err(|error| format!("cannot run cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let value: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
        let packages = value["packages"].as_array().ok_or("cargo metadata lists no packages")?;
        count += packages.len();
        problems.extend(packages.iter().filter_map(|package| problem(package, &allowed)));
    }
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => {
            println!("licences: {count} packages are fine");
            Ok(())
        }
        count => Err(format!("licences: {count} package(s) need a decision; the list is in deny.toml")),
    }
}

/// The strings of the first `allow = [` list; comments may follow an entry.
fn allowed(policy: &str) -> Option<Vec<&str>> {
    let (_, rest) = policy.split_once("[licenses]")?;
    let (_, rest) = rest.split_once("allow = [")?;
    let (list, _) = rest.split_once("\n]")?;
    Some(list.lines().filter_map(|line| line.split('"').nth(1)).collect())
}

fn problem(package: &Value, allowed: &[&str]) -> Option<String> {
    let name = package["name"].as_str().unwrap_or("a package without a name");
    // Ours has no source.
    if let Some(source) = package["source"].as_str()
        && !source.starts_with("registry+")
    {
        return Some(format!("{name}: comes from {source}, not from the registry"));
    }
    match package["license"].as_str() {
        None => Some(format!("{name}: names no licence")),
        Some(expression) if accepts(expression, allowed) => None,
        Some(expression) => Some(format!("{name}: {expression}")),
    }
}

/// Whether an SPDX expression can be satisfied. `A/B` is the old spelling of `A OR B`; AND binds tighter
/// than OR, so the split at OR comes first.
fn accepts(expression: &str, allowed: &[&str]) -> bool {
    let expression = expression.trim();
    if let Some((first, rest)) = split_outside(expression, &[" OR ", "/"]) {
        return accepts(first, allowed) || accepts(rest, allowed);
    }
    if let Some((first, rest)) = split_outside(expression, &[" AND "]) {
        return accepts(first, allowed) && accepts(rest, allowed);
    }
    match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => accepts(inner, allowed),
        None => allowed.contains(&expression),
    }
}

/// Splits at the first of `operators` that is outside parentheses.
fn split_outside<'a>(expression: &'a str, operators: &[&str]) -> Option<(&'a str, &'a str)> {
    let mut depth = 0;
    for (at, character) in expression.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0
            && let Some(operator) = operators.iter().find(|operator| expression[at..].starts_with(**operator))
        {
            return Some((&expression[..at], &expression[at + operator.len()..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: [&str; 3] = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"];

    #[test]
    fn expressions_are_understood() {
        for (expression, good) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0 OR MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", false),
            ("MIT OR GPL-3.0 AND GPL-2.0", true),
            ("GPL-2.0 OR (MIT AND Apache-2.0)", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("MIT-0", false),
        ] {
            assert_eq!(accepts(expression, &ALLOWED), good, "{expression}");
        }
    }

    #[test]
    fn a_foreign_source_or_licence_is_found() {
        let package = |source: &str, license: Option<&str>| {
            let package = serde_json::json!({"name": "x", "source": source, "license": license});
            problem(&package, &ALLOWED).is_some()
        };
        assert!(!package("registry+https://example.org/index", Some("MIT")));
        assert!(package("git+https://example.org/x", Some("MIT")));
        assert!(package("registry+https://example.org/index", Some("SSPL-1.0")));
        assert!(package("registry+https://example.org/index", None));
    }

    #[test]
    fn the_policy_is_read() {
        let policy = "[graph]\n[licenses]\nallow = [\n    \"MIT\", # plain\n    \"Zlib\",\n]\n";
        assert_eq!(allowed(policy), Some(vec!["MIT", "Zlib"]));
        assert_eq!(allowed("[licenses]\n"), None);
    }
}
