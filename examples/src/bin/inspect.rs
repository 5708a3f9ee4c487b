//! Looks at packets: `inspect decode`, `inspect dump`, `inspect encode`, `inspect match`.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use mqtt_codec::{
    DecodeError, Frame, Packet, PacketType, Parsed, ProtocolVersion, TopicFilter, TopicName,
};
use mqtt_examples::{inspect, log, out};
use serde_json::{Value, json};

/// Look at MQTT packets
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print packets as JSON, one line for each
    Decode {
        /// The version they are written in; `auto` takes it from a CONNECT, and is 3.1.1 without one
        #[arg(long, default_value = "auto")]
        version: Version,
        /// Hexadecimal digits, or `-` to read them from standard input
        #[arg(required = true)]
        hex: Vec<String>,
    },
    /// Print what each byte of a raw capture of one direction means
    Dump {
        /// The version it is written in
        #[arg(long, default_value = "auto")]
        version: Version,
        /// The capture: the bytes themselves
        file: PathBuf,
    },
    /// Print the bytes of a packet that is described as `decode` prints it
    Encode {
        /// The version to write; `auto` is that of a CONNECT, 5 for what has properties or a reason code, else 3.1.1
        #[arg(long, default_value = "auto")]
        version: Version,
        /// One JSON object, or `-` to read it from standard input
        json: String,
    },
    /// Say whether a topic filter matches a topic name
    Match {
        /// The filter
        filter: String,
        /// The name
        topic: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Version {
    #[value(name = "3.1.1", alias = "311")]
    V3,
    #[value(name = "5")]
    V5,
    Auto,
}

/// Why the exit code is what it is.
enum Outcome {
    Fine,
    /// A packet, filter or name that is none: it has been told.
    Bad,
}

fn main() -> ExitCode {
    match run(Options::parse().command) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        Err(error) => {
            log!("inspect: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Decode { version, hex } => {
            let text = if hex == ["-"] { stdin()? } else { hex.concat() };
            let bytes = inspect::from_hex(&text)?;
            each_packet(&bytes, version, &|bytes, frame, version| {
                Ok(inspect::json(bytes, frame, version)?.to_string())
            })
        }
        Command::Dump { version, file } => {
            let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
            each_packet(&bytes, version, &|bytes, frame, version| {
                inspect::dump(bytes, frame, version)
            })
        }
        Command::Encode { version, json } => {
            let text = if json == "-" { stdin()? } else { json };
            encode(
                &serde_json::from_str(&text).context("this is no JSON")?,
                version,
            )
        }
        Command::Match { filter, topic } => Ok(matches(&filter, &topic)),
    }
}

fn stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

type Show<'s> = &'s dyn Fn(&[u8], &Frame<'_>, ProtocolVersion) -> anyhow::Result<String>;

fn each_packet(bytes: &[u8], version: Version, show: Show<'_>) -> anyhow::Result<Outcome> {
    let (mut rest, mut known) = (bytes, version.known());
    while !rest.is_empty() {
        let frame = match Frame::parse(rest, known, u32::MAX) {
            Ok(Parsed::Complete(frame)) => frame,
            Ok(Parsed::Partial { needed }) => {
                out!(
                    "{}",
                    json!({"error": {
                        "kind": "Incomplete",
                        "offset": rest.len(),
                        "field": null,
                        "statement": null,
                        "reason_code": 0x81,
                        "message": format!("the packet needs at least {needed} more bytes"),
                    }})
                );
                return Ok(Outcome::Bad);
            }
            Err(error) => return Ok(bad(&error)),
        };
        let is_connect = frame.packet_type() == PacketType::Connect;
        let of_packet = known.unwrap_or(ProtocolVersion::V3_1_1);
        let decoded = match (is_connect, known) {
            (true, None) => frame.decode_connect().map(Packet::Connect),
            _ => frame.decode(of_packet),
        };
        let of_packet = match decoded {
            Ok(Packet::Connect(connect)) => connect.version,
            Ok(_) => of_packet,
            Err(error) => return Ok(bad(&error)),
        };
        if is_connect && known.is_none() {
            known = Some(of_packet);
        }
        let (packet, behind) = rest
            .split_at_checked(frame.size())
            .context("a whole packet")?;
        out!("{}", show(packet, &frame, of_packet)?);
        rest = behind;
    }
    Ok(Outcome::Fine)
}

fn bad(error: &DecodeError) -> Outcome {
    let kind = format!("{:?}", error.kind());
    let reason = error.reason_code();
    let object = json!({"error": {
        "kind": kind.split([' ', '(']).next(),
        "offset": error.offset(),
        "field": error.field().to_string(),
        "statement": error.statement(),
        "reason_code": reason.value(),
        "reason": reason.to_string(),
        "message": error.to_string(),
    }});
    out!("{object}");
    Outcome::Bad
}

fn encode(packet: &Value, version: Version) -> anyhow::Result<Outcome> {
    let level = packet.get("protocol_level").and_then(Value::as_u64);
    let has = |key| packet.get(key).is_some();
    let is_auth = packet.get("packet").and_then(Value::as_str) == Some("AUTH");
    let version = version.known().unwrap_or(match level {
        Some(5) => ProtocolVersion::V5_0,
        None if is_auth || has("properties") || has("reason_code") => ProtocolVersion::V5_0,
        _ => ProtocolVersion::V3_1_1,
    });
    let bytes = inspect::bytes(packet, version)?;
    // What comes out of here is what a peer would take.
    match mqtt_codec::decode(&bytes, version, u32::MAX) {
        Ok(_) => {
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            out!("{}", hex.join(" "));
            Ok(Outcome::Fine)
        }
        Err(error) => Ok(bad(&error)),
    }
}

fn matches(filter: &str, topic: &str) -> Outcome {
    let parsed = TopicFilter::new(filter)
        .map_err(|error| format!("{filter:?} is no topic filter: {error}"))
        .and_then(|filter| {
            let name = TopicName::new(topic);
            let name = name.map_err(|error| format!("{topic:?} is no topic name: {error}"))?;
            let shared = filter.shared().ok().flatten();
            Ok((shared.map_or(filter, |shared| shared.filter()), name))
        });
    match parsed {
        Ok((filter, name)) => {
            out!(
                "{}",
                if filter.matches(name) {
                    "match"
                } else {
                    "no match"
                }
            );
            Outcome::Fine
        }
        Err(error) => {
            log!("inspect: {error}");
            Outcome::Bad
        }
    }
}

impl Version {
    fn known(self) -> Option<ProtocolVersion> {
        match self {
            Self::V3 => Some(ProtocolVersion::V3_1_1),
            Self::V5 => Some(ProtocolVersion::V5_0),
            Self::Auto => None,
        }
    }
}
