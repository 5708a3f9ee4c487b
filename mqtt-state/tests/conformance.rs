//! The ledger of both standards: every statement with the place that enforces it and the tests that
//! show it, or the reason why neither can be here.
//!
//! `docs/conformance/*.txt` says what the statements are; the citations are the numbers in the
//! comments of the libraries and of their tests, such as `MQTT-3.8.3-4` behind its version. What comes
//! out is `docs/conformance.md`; the test compares, and writes it where `CONFORMANCE=write` is set.

#![expect(
    clippy::std_instead_of_alloc,
    reason = "tests have an operating system"
)]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

use core::fmt::Write as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 3] = ["mqtt-topic", "mqtt-codec", "mqtt-state"];

/// More than so many statements are shown by a table alone.
const CITATIONS_MAX: usize = 5;

/// Version and number.
type Id = (char, String);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whose business a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Codec,
    Topic,
    Client,
    Server,
    Both,
    Elsewhere,
}

struct Statement {
    id: Id,
    section: String,
    role: Role,
    wording: String,
    /// Why it cannot be shown here.
    reason: Option<String>,
}

fn statements(version: char, file: &str) -> Vec<Statement> {
    let table = read(&repository().join("docs/conformance").join(file));
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<_> = line.split(" | ").map(str::trim).collect();
            let (id, section, role, wording, reason) = match fields[..] {
                [id, section, role, wording] => (id, section, role, wording, None),
                [id, section, role, wording, reason] => (id, section, role, wording, Some(reason)),
                _ => panic!("{file}: {line}"),
            };
            let role = match role {
                "codec" => Role::Codec,
                "topic" => Role::Topic,
                "client" => Role::Client,
                "server" => Role::Server,
                "both" => Role::Both,
                "elsewhere" => Role::Elsewhere,
                other => panic!("{file}: {id} is the business of {other:?}"),
            };
            let is_elsewhere = role == Role::Elsewhere;
            assert_eq!(is_elsewhere, reason.is_some(), "{file}: {id}");
            Statement {
                id: (version, id.to_owned()),
                section: section.to_owned(),
                role,
                wording: wording.to_owned(),
                reason: reason.map(str::to_owned),
            }
        })
        .collect()
}

/// The numbers in brackets of one line.
fn citations(line: &str) -> Vec<Id> {
    let mut found = Vec::new();
    for (start, _) in line
        .match_indices("[5:MQTT-")
        .chain(line.match_indices("[3:MQTT-"))
    {
        let version = line[start + 1..].chars().next().unwrap();
        let id = &line[start + 3..];
        // A test of the form itself has no number in it.
        if !id["MQTT-".len()..].starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let id = id.split_once(']').map_or(id, |(id, _)| id);
        found.push((version, id.to_owned()));
    }
    found
}

/// A function, a table, or whatever else stands by itself in a file, with the comments before it.
struct Item<'t> {
    name: &'t str,
    is_test: bool,
    /// The modules in the file around it, and `::` behind each.
    path: String,
    lines: Vec<&'t str>,
}

impl Item<'_> {
    fn is_in_tests(&self) -> bool {
        self.path.starts_with("tests::")
    }

    fn mentions(&self, name: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        self.lines.iter().any(|line| {
            let code = line.split("//").next().unwrap_or(line);
            code.match_indices(name).any(|(at, _)| {
                !code[..at].ends_with(is_word) && !code[at + name.len()..].starts_with(is_word)
            })
        })
    }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// What stands in these lines, which are formatted by rustfmt: an item ends with the first line at its
/// own indent that ends in `}` or `;`.
fn items<'t>(lines: &[&'t str], indent: usize, path: &str, out: &mut Vec<Item<'t>>) {
    let mut current: Vec<&str> = Vec::new();
    for &line in lines {
        if current.is_empty() && line.trim().is_empty() {
            continue;
        }
        current.push(line);
        let text = line.trim();
        let is_code = indent_of(line) == indent
            && !text.starts_with("//")
            && !text.starts_with('#')
            && !text.is_empty();
        let code = text.split(" //").next().unwrap_or(text).trim_end();
        if !is_code || !code.ends_with(['}', ';']) {
            continue;
        }
        let whole = core::mem::take(&mut current);
        let head = whole.iter().position(|line| {
            let text = line.trim_start();
            indent_of(line) == indent && !text.is_empty() && !text.starts_with(['#', ')', '/', ']'])
        });
        let head = head.unwrap_or(0);
        let text = whole[head].trim();
        let container = if text.starts_with("proptest! {") {
            Some(path.to_owned())
        } else {
            let inner = text
                .strip_prefix("mod ")
                .and_then(|text| text.strip_suffix(" {"));
            inner.map(|name| format!("{path}{name}::"))
        };
        if let Some(path) = container {
            let end = whole.len() - 1;
            items(&whole[head + 1..end], indent + 4, &path, out);
            continue;
        }
        let is_test = whole[..head].iter().any(|line| line.trim() == "#[test]");
        out.push(Item {
            name: name_of(text),
            is_test,
            path: path.to_owned(),
            lines: whole,
        });
    }
}

/// The name that the first line of an item gives it; that of its type for an `impl`.
fn name_of(text: &str) -> &str {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '!'));
    let mut words = words.filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        match word {
            "fn" | "const" | "static" | "struct" | "enum" | "trait" | "type" | "mod" => {
                return match words.next() {
                    Some("fn") => words.next().unwrap_or(text),
                    other => other.unwrap_or(text),
                };
            }
            "impl" => {
                let of = text.rsplit(" for ").next().unwrap_or(text);
                let of = of.trim_start_matches("impl").trim_start();
                let end = of.find(|c: char| !(c.is_alphanumeric() || c == '_'));
                return &of[..end.unwrap_or(of.len())];
            }
            _ => {}
        }
    }
    text
}

/// More than a few statements in one item are rows of a table, one line for each statement and version:
/// code behind or below every citation.
fn check_that_it_is_a_table(place: &str, item: &Item<'_>, faults: &mut Vec<String>) {
    let all: BTreeSet<Id> = item.lines.iter().flat_map(|line| citations(line)).collect();
    if all.len() <= CITATIONS_MAX {
        return;
    }
    // Each method by itself.
    let is_impl = |line: &&str| line.starts_with("impl") && line.ends_with('{');
    if let Some(head) = item.lines.iter().position(is_impl) {
        let mut methods = Vec::new();
        let end = item.lines.len() - 1;
        items(&item.lines[head + 1..end], 4, &item.path, &mut methods);
        for method in &methods {
            check_that_it_is_a_table(place, method, faults);
        }
        return;
    }
    for (number, line) in item.lines.iter().enumerate() {
        let cited = citations(line);
        if cited.is_empty() {
            continue;
        }
        let versions: BTreeSet<char> = cited.iter().map(|(version, _)| *version).collect();
        let mut row = item.lines[number..].iter().map(|line| line.trim());
        let row = row.find(|line| !line.starts_with("//")).unwrap_or("");
        let is_row =
            row.ends_with(['(', '{', '[', ',']) || row.contains("), //") || row.contains("//");
        if versions.len() != cited.len() || !is_row {
            let count = all.len();
            faults.push(format!(
                "{place}: `{}` cites {count} statements and is no table with a row for each: {}",
                item.name,
                line.trim()
            ));
            return;
        }
    }
}

/// A test, as the ledger calls it, and the roles it shows a statement for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    test: String,
    client: bool,
    server: bool,
}

#[derive(Default)]
struct Ledger {
    enforced: BTreeMap<Id, BTreeSet<String>>,
    shown: BTreeMap<Id, BTreeSet<Shown>>,
    faults: Vec<String>,
}

/// The roles for which a line shows what it cites: what it says in front, or where it stands.
fn roles_of(line: &str, place: &str) -> (bool, bool) {
    let comment = line.split_once("//").map_or("", |(_, comment)| comment);
    match comment
        .trim_start_matches('/')
        .trim_start()
        .split_once(": [")
    {
        Some(("Both roles", _)) => (true, true),
        Some(("Client", _)) => (true, false),
        Some(("Server", _)) => (false, true),
        _ => {
            let is_client = place.contains("/client");
            let is_server = ["/server", "/connection/", "/broker/", "/cases/"];
            (is_client, is_server.iter().any(|part| place.contains(part)))
        }
    }
}

impl Ledger {
    fn read(known: &BTreeSet<Id>) -> Self {
        let mut ledger = Self::default();
        for name in CRATES {
            for part in ["src", "tests"] {
                let mut files = Vec::new();
                walk(&repository().join(name).join(part), &mut files);
                files.sort();
                for file in files {
                    let place = file.strip_prefix(repository()).unwrap();
                    ledger.read_file(name, &place.to_string_lossy(), &read(&file));
                }
            }
        }
        ledger.check_that_all_exist(known);
        ledger
    }

    fn check_that_all_exist(&mut self, known: &BTreeSet<Id>) {
        let ledger = self;
        let cited: BTreeSet<_> = ledger.enforced.keys().chain(ledger.shown.keys()).collect();
        for (version, id) in cited {
            if !known.contains(&(*version, id.clone())) {
                ledger
                    .faults
                    .push(format!("[{version}:{id}] is cited and does not exist"));
            }
        }
    }

    fn read_file(&mut self, name: &str, place: &str, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        let mut found = Vec::new();
        items(&lines, 0, "", &mut found);
        let is_source = place.contains("/src/");
        for item in &found {
            if is_source && !item.is_in_tests() {
                for line in &item.lines {
                    let Some((_, comment)) = line.split_once("//") else {
                        continue;
                    };
                    for id in citations(comment) {
                        let places = self.enforced.entry(id).or_default();
                        places.insert(place.replacen("/src/", "/", 1));
                    }
                }
                continue;
            }
            let tests = tests_that_use(item, &found);
            // What no test here shows claims nothing: the rules in a model say why it is as it is.
            if tests.is_empty() {
                continue;
            }
            check_that_it_is_a_table(place, item, &mut self.faults);
            for line in &item.lines {
                self.note(name, place, line, &tests);
                if let Some((_, rest)) = line.split_once("include_str!(\"") {
                    let table = rest.split('"').next().unwrap();
                    let table = repository().join(place).with_file_name(table);
                    // Some tests read one of several tables, and say which.
                    let quoted = format!("\"{}\"", table.file_name().unwrap().to_string_lossy());
                    let readers = found.iter().filter(|item| {
                        item.is_test && item.lines.iter().any(|line| line.contains(&quoted))
                    });
                    let readers: Vec<_> = readers.collect();
                    let tests = if readers.is_empty() {
                        tests.clone()
                    } else {
                        readers
                    };
                    for row in read(&table).lines().filter(|line| !line.starts_with('#')) {
                        if citations(row).len() > CITATIONS_MAX {
                            let fault = format!("{place}: {row} cites too many statements");
                            self.faults.push(fault);
                        }
                        self.note(name, place, row, &tests);
                    }
                }
            }
        }
    }

    fn note(&mut self, name: &str, place: &str, line: &str, tests: &[&Item<'_>]) {
        for id in citations(line) {
            let (client, server) = roles_of(line, place);
            for test in tests {
                let module = place
                    .split_once("/suite/")
                    .or_else(|| place.split_once("/src/"));
                let module = module.map_or("", |(_, module)| module);
                let module = module.trim_end_matches(".rs").trim_end_matches("mod");
                let module = module.trim_end_matches('/').replace('/', "::");
                let path = if module.is_empty() {
                    let file = place.rsplit('/').next().unwrap().trim_end_matches(".rs");
                    format!("({file}) {}{}", test.path, test.name)
                } else {
                    format!("{module}::{}{}", test.path, test.name)
                };
                self.shown.entry(id.clone()).or_default().insert(Shown {
                    test: format!("{name} {path}"),
                    client,
                    server,
                });
            }
        }
    }
}

/// The item itself, or the tests of its file that use it, through others too. Tests of a table itself
/// show nothing that it says.
fn tests_that_use<'i, 't>(item: &'i Item<'t>, all: &'i [Item<'t>]) -> Vec<&'i Item<'t>> {
    if item.is_test {
        return vec![item];
    }
    let mut names = vec![item.name];
    let mut tests = Vec::new();
    let mut seen = BTreeSet::new();
    while let Some(name) = names.pop() {
        for (number, user) in all.iter().enumerate() {
            if user.name != name && user.mentions(name) && seen.insert(number) {
                match user.is_test {
                    true if user.name.starts_with("the_table_") => {}
                    true => tests.push(user),
                    false => names.push(user.name),
                }
            }
        }
    }
    tests
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_none_or(|name| name != "conformance.rs")
        {
            out.push(path);
        }
    }
}

/// What is missing for a statement.
fn check(statement: &Statement, ledger: &Ledger) -> Vec<&'static str> {
    if statement.role == Role::Elsewhere {
        return Vec::new();
    }
    let mut missing = Vec::new();
    if !ledger.enforced.contains_key(&statement.id) {
        missing.push("no place enforces it");
    }
    let none = BTreeSet::new();
    let shown = ledger.shown.get(&statement.id).unwrap_or(&none);
    if shown.is_empty() {
        missing.push("no test shows it");
    } else if statement.role == Role::Both {
        if !shown.iter().any(|shown| shown.client) {
            missing.push("no test shows it of a client");
        }
        if !shown.iter().any(|shown| shown.server) {
            missing.push("no test shows it of a server");
        }
    }
    missing
}

fn page(standards: &[(&str, Vec<Statement>)], ledger: &Ledger) -> String {
    let mut page = String::from(
        "<!-- Written by `CONFORMANCE=write cargo test -p mqtt-state --test conformance`. -->\n\n\
         # Conformance\n\n\
         Every normative statement of both standards, the file that enforces it (its number stands in a \
         comment there) and the tests that show it (the number stands in them, or in the table they \
         read). The statements are in `conformance/*.txt`; what the words under *whose* mean is said \
         there. A test of this repository checks all of it: no statement without a place and a test, \
         none of *both* without a test of each role, no number that does not exist, no test that claims \
         more than five statements unless it is a table with a row for each. `conformance/breaks.md` \
         tells what happens to the tests when the places are taken away.\n\n\
         `codec errors::x` is `cargo test -p mqtt-codec --test suite errors::x`; paths that end in \
         `tests::x` are unit tests, and a name in brackets is another test program.\n",
    );
    for (name, statements) in standards {
        let elsewhere = statements
            .iter()
            .filter(|statement| statement.reason.is_some())
            .count();
        let here = statements.len() - elsewhere;
        write!(
            page,
            "\n## {name}\n\n{} statements: {here} enforced and shown, {elsewhere} elsewhere.\n\n\
             | statement | section | whose | what has to hold | enforced in | shown by |\n\
             |---|---|---|---|---|---|\n",
            statements.len()
        )
        .unwrap();
        for statement in statements {
            let id = statement.id.1.trim_start_matches("MQTT-");
            let whose = format!("{:?}", statement.role).to_lowercase();
            let (places, tests) = match &statement.reason {
                Some(reason) => (format!("not here: {reason}"), String::new()),
                None => {
                    let short = |text: &str| format!("`{}`", text.replace("mqtt-", ""));
                    let places = ledger.enforced.get(&statement.id).into_iter().flatten();
                    let places: Vec<_> = places.map(|place| short(place)).collect();
                    let tests = ledger.shown.get(&statement.id).into_iter().flatten();
                    let tests: BTreeSet<_> = tests.map(|shown| short(&shown.test)).collect();
                    let tests: Vec<_> = tests.into_iter().collect();
                    (places.join("<br>"), tests.join("<br>"))
                }
            };
            let Statement {
                section, wording, ..
            } = statement;
            writeln!(
                page,
                "| {id} | {section} | {whose} | {wording} | {places} | {tests} |"
            )
            .unwrap();
        }
    }
    page
}

/// Lines of a page as it was written that do not hold any more. It may say less than there is: a new test
/// of a statement makes no page wrong.
fn what_is_not_so(written: &str, page: &str) -> Vec<String> {
    let holds = |(old, new): (&str, &str)| {
        let columns = |line: &str| line.split(" | ").map(str::to_owned).collect::<Vec<_>>();
        let (old_columns, new_columns) = (columns(old), columns(new));
        let parts = |column: &str| -> BTreeSet<String> {
            let column = column.trim_end_matches(" |");
            column.split("<br>").map(str::to_owned).collect()
        };
        let mut pairs = old_columns.iter().zip(&new_columns);
        old == new
            || (old_columns.len() == new_columns.len()
                && pairs.all(|(old, new)| parts(old).is_subset(&parts(new))))
    };
    let lines = written.lines().count().max(page.lines().count());
    let old = written.lines().chain(core::iter::repeat(""));
    let new = page.lines().chain(core::iter::repeat(""));
    let stale = old.zip(new).take(lines).filter(|pair| !holds(*pair));
    stale.map(|(old, _)| old.to_owned()).collect()
}

#[test]
fn every_statement_is_enforced_and_shown() {
    let standards = [
        ("MQTT 5.0", statements('5', "mqtt5.txt")),
        ("MQTT 3.1.1", statements('3', "mqtt311.txt")),
    ];
    assert_eq!(standards.each_ref().map(|(_, all)| all.len()), [251, 141]);
    let all = || standards.iter().flat_map(|(_, statements)| statements);
    let known: BTreeSet<Id> = all().map(|statement| statement.id.clone()).collect();
    assert_eq!(known.len(), 251 + 141, "each once");
    let mut ledger = Ledger::read(&known);
    for statement in all() {
        let (version, id) = &statement.id;
        for missing in check(statement, &ledger) {
            let wording = &statement.wording;
            ledger
                .faults
                .push(format!("[{version}:{id}] {missing}: {wording}"));
        }
    }
    let count = ledger.faults.len();
    assert!(count == 0, "{count} faults:\n{}", ledger.faults.join("\n"));

    let path = repository().join("docs/conformance.md");
    let page = page(&standards, &ledger);
    if std::env::var("CONFORMANCE").is_ok_and(|value| value == "write") {
        fs::write(&path, &page).unwrap();
    }
    let stale = what_is_not_so(&read(&path), &page);
    assert!(
        stale.is_empty(),
        "docs/conformance.md says what is not so: \
         CONFORMANCE=write cargo test -p mqtt-state --test conformance\n{}",
        stale.join("\n")
    );
}

/// The ledger of one file of tests, and what is wrong with it.
fn of_tests(text: &str, known: &[&str]) -> (Vec<Shown>, Vec<String>) {
    let mut ledger = Ledger::default();
    ledger.read_file("mqtt-state", "mqtt-state/tests/suite/x.rs", text);
    let known = known.iter().map(|id| ('5', (*id).to_owned())).collect();
    ledger.check_that_all_exist(&known);
    (
        ledger.shown.into_values().flatten().collect(),
        ledger.faults,
    )
}

#[test]
fn citations_belong_to_the_tests_that_use_them() {
    let text = "const ROWS: &[&str] = &[
    \"a\", // [5:MQTT-1.0.0-1]
];

fn rows() -> usize {
    ROWS.len()
}

#[test]
fn through_a_function() {
    assert_eq!(rows(), 1);
}

mod inner {
    #[test]
    fn by_itself() {
        // Server: [5:MQTT-1.0.0-2]
    }
}
";
    let shown = |test: &str, server| Shown {
        test: test.to_owned(),
        client: false,
        server,
    };
    let expected = vec![
        shown("mqtt-state x::through_a_function", false),
        shown("mqtt-state x::inner::by_itself", true),
    ];
    let known = ["MQTT-1.0.0-1", "MQTT-1.0.0-2"];
    assert_eq!(of_tests(text, &known), (expected, vec![]));
    let (_, faults) = of_tests(text, &known[1..]);
    let fault = "[5:MQTT-1.0.0-1] is cited and does not exist";
    assert_eq!(faults, [fault]);
}

#[test]
fn more_than_five_statements_are_rows_of_a_table() {
    let known = ["1", "2", "3", "4", "5", "6"].map(|number| format!("MQTT-1.0.0-{number}"));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let rows = |row: &dyn Fn(&str) -> String| {
        let rows: String = known.iter().map(|id| row(id)).collect();
        format!("#[test]\nfn many() {{\n{rows}}}\n")
    };
    let table = rows(&|id| format!("    (\"row\", 1), // [5:{id}]\n"));
    assert_eq!(of_tests(&table, &known).1, [""; 0]);
    let list = rows(&|id| format!("    // [5:{id}]\n"));
    assert_eq!(of_tests(&list, &known).1.len(), 1, "rows of nothing");
    let in_one = table.replace(
        "\n    (\"row\", 1), // [5:MQTT-1.0.0-2]",
        " [5:MQTT-1.0.0-2]",
    );
    assert_eq!(of_tests(&in_one, &known).1.len(), 1, "two in one row");
    let five = list.replace("    // [5:MQTT-1.0.0-6]\n", "");
    assert_eq!(of_tests(&five, &known).1, [""; 0]);
}

#[test]
fn a_page_may_say_less_than_there_is_and_nothing_else() {
    let page = "# Title\n| 1 | what | `a.rs`<br>`b.rs` | `x`<br>`y` |\n";
    let rows = [
        (
            "all",
            "# Title\n| 1 | what | `a.rs`<br>`b.rs` | `x`<br>`y` |\n",
            0,
        ),
        ("less", "# Title\n| 1 | what | `a.rs` | `y` |\n", 0),
        (
            "a test that is gone",
            "# Title\n| 1 | what | `a.rs` | `z` |\n",
            1,
        ),
        ("no test", "# Title\n| 1 | what | `a.rs` |  |\n", 1),
        ("other words", "# Title\n| 1 | which | `a.rs` | `x` |\n", 1),
        ("a row too few", "# Title\n", 1),
        (
            "a row too many",
            "# Title\n| 1 | what | `a.rs` | `x` |\n| 2 |\n",
            1,
        ),
    ];
    for (row, written, stale) in rows {
        assert_eq!(what_is_not_so(written, page).len(), stale, "{row}");
    }
}

/// The lines of `breaks.txt` that are to be taken away: each block has them once in its file, whatever
/// was changed there since.
#[test]
fn what_is_taken_away_to_see_a_test_fail_is_there() {
    let text = read(&repository().join("docs/conformance/breaks.txt"));
    let mut faults = Vec::new();
    let mut blocks = 0;
    for block in text.split("\n\n") {
        let lines = || block.lines().filter(|line| !line.starts_with('#'));
        let Some(file) = lines().find_map(|line| line.strip_prefix("file ")) else {
            continue;
        };
        blocks += 1;
        let wanted = lines().filter_map(|line| line.strip_prefix('-'));
        let wanted: Vec<&str> = wanted.map(str::trim).collect();
        let source = read(&repository().join(file));
        let source: Vec<&str> = source.lines().map(str::trim).collect();
        let places = source.windows(wanted.len().max(1));
        let count = places.filter(|place| *place == wanted).count();
        if count != 1 {
            faults.push(format!("{count} times in {file}: {wanted:?}"));
        }
    }
    assert!(blocks > 50, "{blocks} blocks");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The bugs that `simulate --self-test` puts into a copy: the lines that each patch knows are in its file.
#[test]
fn bugs_that_the_simulation_has_to_find_can_be_put_in() {
    let folder = repository().join("mqtt-state/src/sim/bugs");
    let mut faults = Vec::new();
    let mut patches = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let patch = read(&entry.unwrap().path());
        patches += 1;
        let mut file = "";
        for hunk in patch.split("\n@@ ") {
            let (head, old) = hunk.split_once('\n').unwrap_or((hunk, ""));
            if head.starts_with('-') {
                let old = old.lines().take_while(|line| !line.starts_with("diff "));
                let old = old.filter_map(|line| line.strip_prefix([' ', '-']));
                let old: Vec<&str> = old.collect();
                let source = read(&repository().join(file));
                let source: Vec<&str> = source.lines().collect();
                if !source.windows(old.len().max(1)).any(|lines| *lines == old) {
                    faults.push(format!("not in {file}:\n{}", old.join("\n")));
                }
            }
            if let Some(name) = hunk.lines().find_map(|line| line.strip_prefix("+++ b/")) {
                file = name;
            }
        }
    }
    assert!(patches > 20, "{patches} patches");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
