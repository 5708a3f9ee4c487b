//! No method that changes a machine is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(of: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(of).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The public methods of a type that change it, as they stand in the sources.
fn changing(machine: &str, folder: &str) -> BTreeSet<String> {
    let mut files = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src")
        .join(folder);
    sources(&root, &mut files);
    let mut found = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let start = format!("\nimpl {machine} {{\n");
        for part in text.split(&start).skip(1) {
            let block = part.split("\n}\n").next().unwrap();
            for method in block.split("\n    pub fn ").skip(1) {
                let (name, rest) = method.split_once('(').unwrap();
                let arguments = rest.split(')').next().unwrap();
                if arguments.trim_start().starts_with("&mut self") {
                    found.insert(name.split('<').next().unwrap().to_owned());
                }
            }
        }
    }
    found
}

/// The methods of its recorder: rows of a table, and those that are written out.
fn recorded(machine: &str, file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/record")
        .join(file);
    let text = fs::read_to_string(path).unwrap();
    let table = text.split("recorded! {").nth(1).unwrap();
    let (table, rest) = table.split_once("\n}\n").unwrap();
    let names = table.split("\n    ").filter_map(|row| {
        let (name, _) = row.split_once('(')?;
        let is_name = name.bytes().all(|it| it == b'_' || it.is_ascii_lowercase());
        is_name.then(|| name.to_owned())
    });
    let mut found: BTreeSet<_> = names.collect();
    let start = format!("impl Recorder<{machine}> {{");
    let written = rest
        .split(&start)
        .nth(1)
        .unwrap()
        .split("\n}\n")
        .next()
        .unwrap();
    for method in written.split("\n    pub fn ").skip(1) {
        let (name, rest) = method.split_once('(').unwrap();
        if rest.trim_start().starts_with("&mut self") {
            found.insert(name.split('<').next().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn every_method_that_changes_a_machine_is_recorded() {
    for (machine, folder, file, fewest) in [
        ("Broker", "broker", "broker.rs", 25),
        ("Client", "client", "client.rs", 20),
        ("Connection", "server", "server.rs", 20),
    ] {
        let changing = changing(machine, folder);
        assert!(changing.len() >= fewest, "{machine}: {changing:?}");
        assert_eq!(changing, recorded(machine, file), "{machine}");
    }
}
