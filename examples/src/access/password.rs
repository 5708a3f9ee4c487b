//! Passwords: a file of lines `user:hash`, the hashes by Argon2.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, anyhow, ensure};
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// Users, and the hashes of their passwords.
///
/// A line is `user:hash`, where `hash` is a PHC string as `--hash-password` prints it. Empty lines and
/// lines that begin with `#` are skipped.
#[derive(Default)]
pub struct Passwords {
    hashes: BTreeMap<String, PasswordHash>,
    /// What hashes are computed in, to be used again: allocators that get so large a piece back with each
    /// password do not find the next one a place in it, and take more and more.
    memory: Mutex<Vec<Vec<Block>>>,
}

/// A hash of a file may want so much memory, in KiB.
const MEMORY_MAX_KIB: u32 = 1024 * 1024;

impl Passwords {
    /// Reads what a file holds.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut hashes = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = entry(line).with_context(|| format!("line {number}"))?;
            let earlier = hashes.insert(user.to_owned(), hash);
            ensure!(earlier.is_none(), "line {number}: {user} a second time");
        }
        let memory = Mutex::default();
        Ok(Self { hashes, memory })
    }

    /// Whether this is the password of that user. Takes as long as it takes to compute a hash, some
    /// 50 ms and 19 MiB: not for a thread that others wait for. The memory is kept for the next one, so that
    /// it stays what those took that were checked at once.
    #[must_use]
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        let is_right = |hash: &PasswordHash| self.is_right(hash, password).unwrap_or(false);
        match self.hashes.get(user) {
            Some(hash) => is_right(hash),
            None => {
                // As slow as for a user that there is: which names are taken is nobody's business.
                let _wrong_anyway = self.hashes.values().next().map(is_right);
                false
            }
        }
    }

    /// Whether a user is there with the same hash as in another file.
    pub(super) fn has_same(&self, other: &Self, user: &str) -> bool {
        let hash = self.hashes.get(user);
        hash.is_some() && hash == other.hashes.get(user)
    }

    fn is_right(&self, hash: &PasswordHash, password: &[u8]) -> anyhow::Result<bool> {
        let (hasher, salt, expected) = parts(hash)?;
        let mut memory = self.spare_memory().pop().unwrap_or_default();
        memory.resize(hasher.params().block_count(), Block::default());
        let mut buffer = [0; Output::MAX_LENGTH];
        let out = buffer.get_mut(..expected.len()).context("a longer hash")?;
        let result = hasher.hash_password_into_with_memory(password, salt, out, &mut memory);
        self.spare_memory().push(memory);
        result.map_err(|error| anyhow!("cannot hash the password: {error}"))?;
        // They are compared without a hint at where they differ.
        let found = Output::new(out).map_err(|error| anyhow!("{error}"))?;
        Ok(found == expected)
    }

    fn spare_memory(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

/// Names only: hashes do not belong into a log.
impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.hashes.keys()).finish()
    }
}

/// A line for a user with that password.
pub fn line(user: &str, password: &str) -> anyhow::Result<String> {
    line_with(&Argon2::default(), user, password)
}

/// Prints a line. What is not given, the user name and the password, is read from standard input,
/// each from a line of its own.
pub fn print_line(given: &[String]) -> anyhow::Result<()> {
    let mut given = given.iter().cloned();
    let mut input = std::io::stdin().lock().lines();
    let mut next = |what: &str| match given.next() {
        Some(text) => Ok(text),
        None => input
            .next()
            .with_context(|| format!("no {what} on standard input"))?
            .with_context(|| format!("cannot read the {what}")),
    };
    let user = next("user name")?;
    let password = next("password")?;
    crate::out!("{}", line(&user, &password)?);
    Ok(())
}

fn line_with(hasher: &Argon2<'_>, user: &str, password: &str) -> anyhow::Result<String> {
    check_user(user)?;
    let hash = hasher.hash_password(password.as_bytes());
    let hash = hash.map_err(|error| anyhow!("cannot hash the password: {error}"))?;
    Ok(format!("{user}:{hash}"))
}

fn entry(line: &str) -> anyhow::Result<(&str, PasswordHash)> {
    let (user, text) = line.split_once(':').context("not of the form user:hash")?;
    check_user(user)?;
    let hash =
        PasswordHash::new(text).map_err(|error| anyhow!("the hash is no PHC string: {error}"))?;
    let is_argon2 = Algorithm::try_from(hash.algorithm.as_str()).is_ok();
    ensure!(is_argon2, "{} is not Argon2", hash.algorithm);
    let (hasher, ..) = parts(&hash)?;
    ensure!(
        hasher.params().m_cost() <= MEMORY_MAX_KIB,
        "the hash wants more than {MEMORY_MAX_KIB} KiB of memory"
    );
    Ok((user, hash))
}

/// What it takes to compute a hash once more, and what has to come out.
fn parts(hash: &PasswordHash) -> anyhow::Result<(Argon2<'static>, &[u8], Output)> {
    const WHAT: &str = "the hash is not whole";
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())
        .ok()
        .context(WHAT)?;
    let version = hash
        .version
        .map_or(Ok(Version::default()), Version::try_from);
    let params = Params::try_from(hash).ok().context(WHAT)?;
    let hasher = Argon2::new(algorithm, version.ok().context(WHAT)?, params);
    let salt = hash.salt.as_ref().context(WHAT)?;
    Ok((hasher, salt, hash.hash.context(WHAT)?))
}

fn check_user(user: &str) -> anyhow::Result<()> {
    ensure!(!user.is_empty(), "no user name");
    let is_plain = !user.starts_with('#') && !user.contains([':', '\n', '\r', '\0']);
    ensure!(
        is_plain,
        "a user name does not begin with '#' and has no ':' and no line end"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Argon2, Params, Version};

    use super::{Passwords, line_with};

    /// As weak as it can be, which makes it quick.
    fn weak(user: &str, password: &str) -> String {
        let params = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        line_with(&hasher, user, password).unwrap()
    }

    #[test]
    fn the_right_password_of_the_right_user() {
        let text = format!(
            "# users\n\n{}\r\n{}\n",
            weak("alice", "wonder land"),
            weak("bøb", "")
        );
        let passwords = Passwords::parse(&text).unwrap();
        assert_eq!(passwords.len(), 2);
        for (user, password, expected) in [
            ("alice", "wonder land", true),
            ("alice", "wonder", false),
            ("alice", "", false),
            ("Alice", "wonder land", false),
            ("bøb", "", true),
            ("bøb", "wonder land", false),
            ("", "", false),
            ("mallory", "wonder land", false),
        ] {
            assert_eq!(
                passwords.verify(user, password.as_bytes()),
                expected,
                "{user} {password:?}"
            );
        }
        assert!(!format!("{passwords:?}").contains("argon2"));
    }

    #[test]
    fn a_file_without_users_lets_nobody_in() {
        let passwords = Passwords::parse("# nobody\n").unwrap();
        assert!(passwords.is_empty());
        assert!(!passwords.verify("", b""));
    }

    #[test]
    fn each_line_has_a_salt_of_its_own() {
        assert_ne!(weak("a", "same"), weak("a", "same"));
    }

    #[test]
    fn wrong_lines_are_named() {
        let good = weak("alice", "x");
        let hash = good.strip_prefix("alice:").unwrap();
        for (name, second, expected) in [
            ("no colon", "alice".to_owned(), "user:hash"),
            ("no user", format!(":{hash}"), "no user name"),
            ("plain text", "bob:secret".to_owned(), "PHC"),
            ("twice", good.clone(), "second time"),
            (
                "another algorithm",
                "bob:$scrypt$ln=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAA".to_owned(),
                "not Argon2",
            ),
            (
                "no hash",
                "bob:$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
                "not whole",
            ),
            (
                "more memory than there is",
                format!("bob:{}", hash.replace("m=8,", "m=4294967295,")),
                "memory",
            ),
        ] {
            let error = Passwords::parse(&format!("{good}\n{second}\n")).unwrap_err();
            let text = format!("{error:#}");
            assert!(
                text.starts_with("line 2") && text.contains(expected),
                "{name}: {text}"
            );
        }
    }

    #[test]
    fn user_names_that_would_break_the_file() {
        for user in ["", "a:b", "a\nb", "#a"] {
            assert!(super::line(user, "x").is_err(), "{user:?}");
        }
    }
}
