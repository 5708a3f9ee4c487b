//! Instructions, counted by callgrind over one run of this same program.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Callgrind collects while this function runs, and writes a file when it returns.
#[inline(never)]
pub(crate) fn measured(run: &mut dyn FnMut()) {
    core::hint::black_box(run)();
}

/// What this program prints when it is run with other arguments.
pub(crate) fn native(arguments: &[&str]) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{arguments:?} ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

/// The instructions of each call of [`measured`], in their order, when this program is run with
/// other arguments.
pub(crate) fn counts(arguments: &[&str], calls: usize) -> Result<Vec<u64>, String> {
    let folder = PathBuf::from(format!("target/callgrind-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args([
            "--toggle-collect=compare::callgrind::measured",
            "--dump-after=compare::callgrind::measured",
        ])
        .arg(format!("--callgrind-out-file={}/out", folder.display()))
        .arg(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind is needed: {error}"))?;
    if !status.success() {
        return Err(format!("valgrind ended with {status}"));
    }
    let counts = (1..=calls).map(|number| {
        let path = folder.join(format!("out.{number}"));
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let count = total.and_then(|total| total.trim().parse().ok());
        count.ok_or_else(|| format!("{}: no totals", path.display()))
    });
    let counts = counts.collect();
    let _kept = fs::remove_dir_all(&folder);
    counts
}
