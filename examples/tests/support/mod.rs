//! Programs that tests start, read from and end.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot start its programs fails"
)]

use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Nothing here takes long; whatever does is stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program that runs, and the lines it prints.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    /// Standard output and standard error, line by line.
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Starts a program. A missing one fails the test.
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let (sender, lines) = mpsc::channel();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let to = sender.clone();
        thread::spawn(move || {
            BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| to.send(line))
        });
        thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            name: format!("{program} {}", arguments.join(" ")),
            child,
            stdin,
            lines,
            seen: Vec::new(),
        }
    }

    /// The next line that holds `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!(
                    "{} never printed {text:?}, but:\n{}",
                    self.name,
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// Waits until a mosquitto takes clients in. It speaks of clients "running on this machine" before that.
    pub fn wait_until_running(&mut self) {
        while !self.wait_for("running").ends_with("running") {}
    }

    /// Writes a line to the program's standard input.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("not closed yet");
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .expect("the program reads");
    }

    /// The same, for a program that may have ended: whether it still reads.
    pub fn try_type_line(&mut self, line: &str) -> bool {
        let stdin = self.stdin.as_mut().expect("not closed yet");
        let written = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        written.is_ok()
    }

    /// Waits for the end; answers the exit code and all lines.
    pub fn finish(mut self) -> (Option<i32>, Vec<String>) {
        drop(self.stdin.take());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        let code = match self.child.try_wait().expect("can be asked") {
            Some(status) => status.code(),
            None => self.child.wait().expect("can be waited for").code(),
        };
        (code, std::mem::take(&mut self.seen))
    }

    /// Waits for a good end; answers all lines.
    pub fn succeed(self) -> Vec<String> {
        let name = self.name.clone();
        let (code, lines) = self.finish();
        assert_eq!(code, Some(0), "{name} failed:\n{}", lines.join("\n"));
        lines
    }

    /// Ends the program without a chance to say goodbye.
    pub fn kill(mut self) {
        self.child.kill().expect("can be killed");
        self.child.wait().expect("can be waited for");
    }

    /// Asks the program to end, as Ctrl-C does.
    pub fn interrupt(self) -> (Option<i32>, Vec<String>) {
        self.signal("-INT")
    }

    /// Asks the program to end, with a signal.
    pub fn signal(self, signal: &str) -> (Option<i32>, Vec<String>) {
        self.send_signal(signal);
        self.finish()
    }

    /// Sends a signal that is no reason to end.
    pub fn send_signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .expect("kill exists")
                .success()
        );
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// Our broker on a free port.
#[derive(Debug)]
pub struct OurBroker {
    pub program: Program,
    pub port: String,
}

impl OurBroker {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further options.
    pub fn with(options: &[&str]) -> Self {
        let mut program = Program::start(
            env!("CARGO_BIN_EXE_broker"),
            &[&["--bind", "127.0.0.1:0", "--verbose"], options].concat(),
        );
        let port = listening(&mut program);
        Self { program, port }
    }

    /// As it is told, and without a word about what goes well.
    pub fn quiet(options: &[&str]) -> Self {
        let mut program = Program::start(env!("CARGO_BIN_EXE_broker"), options);
        let port = listening(&mut program);
        Self { program, port }
    }

    /// The port of its next listener.
    pub fn next_port(&mut self) -> String {
        listening(&mut self.program)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// The port of the next listener that a broker tells of.
fn listening(program: &mut Program) -> String {
    let line = program.wait_for("listening on");
    line.rsplit(':').next().expect("an address").to_owned()
}

/// An empty folder, for one test.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _was_not_there = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Writes a file; answers its path, as an argument.
pub fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("can be written");
    path.to_str().expect("a readable path").to_owned()
}

/// A port that nobody uses, for programs that cannot find one themselves. Below those that the system
/// gives to whoever connects: while a program that is started again is away, a client that tries its
/// port could get that very port, and keep it.
pub fn free_port() -> String {
    let random = RandomState::new();
    (0..1000_u64)
        .map(|attempt| 10_000 + random.hash_one(attempt) % 20_000)
        .map(|port| port.to_string())
        .find(|port| TcpListener::bind(format!("127.0.0.1:{port}")).is_ok())
        .expect("a free port")
}

/// Our `publish`.
pub fn publish(arguments: &[&str]) -> Program {
    Program::start(env!("CARGO_BIN_EXE_publish"), arguments)
}

/// Our `subscribe`, once the broker has answered its SUBSCRIBE.
pub fn subscribe(arguments: &[&str]) -> Program {
    let mut program = Program::start(
        env!("CARGO_BIN_EXE_subscribe"),
        &[arguments, &["-d"]].concat(),
    );
    program.wait_for("subscribed:");
    program
}

/// The memory of a process, in KiB.
pub fn resident_kib(id: u32) -> u64 {
    memory_kib(id, "VmRSS:")
}

/// The most memory that a process has had, in KiB.
pub fn peak_kib(id: u32) -> u64 {
    memory_kib(id, "VmHWM:")
}

fn memory_kib(id: u32, name: &str) -> u64 {
    let mut status = String::new();
    std::fs::File::open(format!("/proc/{id}/status"))
        .unwrap()
        .read_to_string(&mut status)
        .unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with(name))
        .expect("has memory");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number")
}
