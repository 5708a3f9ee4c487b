//! Where a broker is and how it is spoken to.

use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};

/// An address as people write it: `host:port`, or a URL with one of the schemes `mqtt`, `mqtts`, `ws` and
/// `wss`.
///
/// ```
/// use mqtt_examples::transport::target::Target;
///
/// let target: Target = "wss://example.org/mqtt".parse()?;
/// assert_eq!((target.address.as_str(), target.is_tls), ("example.org:443", true));
/// assert_eq!(target.websocket_path.as_deref(), Some("/mqtt"));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host and port, as sockets want them.
    pub address: String,
    /// The host alone, as certificates name it.
    pub host: String,
    /// Whether the bytes go through TLS.
    pub is_tls: bool,
    /// What is asked for when the bytes go through a WebSocket.
    pub websocket_path: Option<String>,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let (host, _port) = text
                .rsplit_once(':')
                .with_context(|| format!("{text} is no host:port"))?;
            return Ok(Self {
                address: text.to_owned(),
                host: without_brackets(host).to_owned(),
                is_tls: false,
                websocket_path: None,
            });
        };
        let (is_tls, is_websocket, default_port) = match scheme {
            "mqtt" => (false, false, 1883),
            "mqtts" => (true, false, 8883),
            "ws" => (false, true, 80),
            "wss" => (true, true, 443),
            _ => bail!("{text}: the scheme is mqtt, mqtts, ws or wss"),
        };
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        ensure!(
            !authority.contains('@'),
            "a URL with a user name: use -u and --pw"
        );
        ensure!(
            is_websocket || matches!(path, "" | "/"),
            "{text}: {scheme} has no path"
        );
        // The colons of an IPv6 address stand within brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse::<u16>();
                (host, port.with_context(|| format!("{text}: the port"))?)
            }
            _ => (authority, default_port),
        };
        ensure!(!host.is_empty(), "{text}: no host");
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Ok(Self {
            address: format!("{host}:{port}"),
            host: without_brackets(host).to_owned(),
            is_tls,
            websocket_path: is_websocket.then_some(path),
        })
    }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn urls_and_plain_addresses() {
        for (text, address, host, is_tls, path) in [
            ("a:1", "a:1", "a", false, None),
            ("[::1]:1883", "[::1]:1883", "::1", false, None),
            ("mqtt://a", "a:1883", "a", false, None),
            ("mqtts://a/", "a:8883", "a", true, None),
            ("mqtts://[::1]", "[::1]:8883", "::1", true, None),
            ("ws://a", "a:80", "a", false, Some("/")),
            ("ws://a:9001?x=1", "a:9001", "a", false, Some("/?x=1")),
            ("wss://[::1]:1/mqtt", "[::1]:1", "::1", true, Some("/mqtt")),
        ] {
            let expected = Target {
                address: address.to_owned(),
                host: host.to_owned(),
                is_tls,
                websocket_path: path.map(str::to_owned),
            };
            assert_eq!(text.parse::<Target>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            "a",
            "http://a",
            "mqtt://",
            "mqtt://a:b",
            "mqtt://a:99999",
            "mqtt://a/path",
            "mqtts://me:secret@a",
            "ws://:80",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
