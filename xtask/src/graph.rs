//! The arrows between the crates: exactly those that the architecture names, and no others.

mod rules;

use crate::workspace::Workspace;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One package depends on another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Normal,
    Build,
    Dev,
}

pub fn run(workspace: &Workspace) -> Result<(), String> {
    let mut arrows = metadata(workspace, "Cargo.toml")?;
    if workspace.agent_manifest().exists() {
        arrows.extend(metadata(workspace, "agent/Cargo.toml")?);
    }
    let problems = rules::check(&arrows);
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        return Err(format!("graph: {} problem(s)", problems.len()));
    }
    for (from, to) in by_package(&arrows) {
        println!("{from} -> {}", to.into_iter().collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// Arrows within the project, for people to read.
fn by_package(arrows: &[Arrow]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut map: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for arrow in arrows.iter().filter(|arrow| rules::is_ours(&arrow.to) && arrow.kind != Kind::Dev) {
        map.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    map
}

fn metadata(workspace: &Workspace, manifest: &str) -> Result<Vec<Arrow>, String> {
    let args = ["metadata", "--format-version", "1", "--no-deps", "--manifest-path", manifest];
    let output = workspace.cargo(&args).output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let value = serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    parse(&value).ok_or_else(|| "cargo metadata has a form that this xtask does not know".into())
}

fn parse(metadata: &Value) -> Option<Vec<Arrow>> {
    let mut arrows = Vec::new();
    for package in metadata.get("packages")?.as_array()? {
        let from = package.get("name")?.as_str()?;
        for dependency in package.get("dependencies")?.as_array()? {
            let to = dependency.get("name")?.as_str()?;
            let kind = match dependency.get("kind")?.as_str() {
                None => Kind::Normal,
                Some("build") => Kind::Build,
                Some("dev") => Kind::Dev,
                Some(_) => return None,
            };
            arrows.push(Arrow { from: from.into(), to: to.into(), kind });
        }
    }
    Some(arrows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read() {
        let text = r#"{"packages":[{"name":"a","dependencies":[
            {"name":"b","kind":null},{"name":"c","kind":"dev"},{"name":"d","kind":"build"}]}]}"#;
        let arrows = parse(&serde_json::from_str(text).expect("JSON")).expect("known form");
        let kinds: Vec<_> = arrows.iter().map(|arrow| (arrow.to.as_str(), arrow.kind)).collect();
        assert_eq!(kinds, [("b", Kind::Normal), ("c", Kind::Dev), ("d", Kind::Build)]);
        assert_eq!(parse(&serde_json::json!({"packages": [{"name": "a"}]})), None);
    }
}
