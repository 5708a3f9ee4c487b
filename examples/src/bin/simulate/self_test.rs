//! Bugs that other implementations had, and some that this one had: each is put into a copy of the
//! libraries, and a simulation has to find it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is copied; the other packages are no part of it.
const PACKAGES: [&str; 3] = ["mqtt-topic", "mqtt-codec", "mqtt-state"];

/// Where the copy is built, below `target`.
const FOLDER: &str = "target/self-test";

/// So many times as many seeds look for a bug as show that there is none without it: some need a meeting that is
/// rare, and the first seed that finds it ends the search.
const TIMES: u64 = 10;

/// Tries all of them, or those alone whose names begin in one of these ways. Answers whether each was found,
/// and the libraries as they are have none.
pub(crate) fn run(seeds: u64, begins: &[String], out: &mut impl Write) -> io::Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut patches: Vec<PathBuf> = fs::read_dir(root.join("mqtt-state/src/sim/bugs"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    patches.retain(|path| path.extension() == Some(OsStr::new("patch")) && is_meant(path, begins));
    patches.sort();
    for begin in begins {
        if !patches.iter().any(|path| name(path).starts_with(begin)) {
            return Err(io::Error::other(format!("there is no bug {begin}")));
        }
    }
    let mut is_good = true;
    copy(&root)?;
    let first = first_failure(&root, seeds)?;
    writeln!(out, "as it is: {first}")?;
    is_good &= first.starts_with("none");
    for patch in &patches {
        let name = name(patch);
        // What the one before has changed is as it was.
        copy(&root)?;
        let applied = Command::new("git")
            .args(["apply", "--recount", "-C1"])
            .arg(fs::canonicalize(patch)?)
            .current_dir(root.join(FOLDER))
            // Not a part of the repository that it lies in.
            .env(
                "GIT_CEILING_DIRECTORIES",
                fs::canonicalize(&root)?.join("target"),
            )
            .status()?;
        if !applied.success() {
            writeln!(out, "{name}: does not fit any more")?;
            is_good = false;
            continue;
        }
        let found = first_failure(&root, seeds.saturating_mul(TIMES))?;
        writeln!(out, "{name}: {found}")?;
        is_good &= found.starts_with("seed");
    }
    let verdict = if is_good {
        "each was found"
    } else {
        "not all is as it has to be"
    };
    writeln!(out, "verdict: {} bugs, {verdict}", patches.len())?;
    Ok(is_good)
}

fn name(patch: &Path) -> Cow<'_, str> {
    patch.file_stem().unwrap_or_default().to_string_lossy()
}

fn is_meant(patch: &Path, begins: &[String]) -> bool {
    begins.is_empty() || begins.iter().any(|begin| name(patch).starts_with(begin))
}

/// The three libraries as a workspace of their own; what has not changed keeps its time.
fn copy(root: &Path) -> io::Result<()> {
    let to = root.join(FOLDER);
    fs::create_dir_all(&to)?;
    for package in PACKAGES {
        copy_folder(&root.join(package), &to.join(package))?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let mut kept = String::new();
    for line in manifest.lines() {
        let is_other = ["\"benches\"", "\"examples\"", "exclude"];
        if !is_other
            .iter()
            .any(|other| line.trim_start().starts_with(other))
        {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    write_if_other(&to.join("Cargo.toml"), kept.as_bytes())?;
    write_if_other(&to.join("Cargo.lock"), &fs::read(root.join("Cargo.lock"))?)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            write_if_other(&to, &fs::read(from)?)?;
        }
    }
    Ok(())
}

fn write_if_other(to: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(to, bytes)
}

fn first_failure(root: &Path, seeds: u64) -> io::Result<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "run",
            "--release",
            "--quiet",
            "-p",
            "mqtt-state",
            "--features",
            "sim",
        ])
        .args(["--example", "first_failure", "--", &seeds.to_string()])
        .current_dir(root.join(FOLDER))
        .env(
            "CARGO_TARGET_DIR",
            fs::canonicalize(root)?.join(FOLDER).join("target"),
        )
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")
        .stderr(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let said: String = said.trim().chars().take(160).collect();
    match said.is_empty() {
        true => Ok("seed unknown: the program ends".into()),
        false => Ok(said),
    }
}
