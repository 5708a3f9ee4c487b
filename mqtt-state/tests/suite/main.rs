//! Tests from outside, in one program: one file for each part of the standard, the `world` in
//! which they play, and the `wire` for single packets.

#![expect(
    clippy::std_instead_of_alloc,
    reason = "tests have an operating system"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

mod acknowledge;
mod alias;
// A short way that small programs do without.
#[cfg(not(feature = "small"))]
mod at_hand;
mod attacks;
mod authenticate;
mod backlog;
mod both_roles;
mod broker_model;
mod cases;
mod commands;
mod connect;
mod connection;
mod cuts;
mod decision;
// Another one.
#[cfg(not(feature = "small"))]
mod direct;
mod disk;
mod doors;
mod embed;
mod ends;
mod expiry;
mod fan_out;
mod flow;
mod hall;
mod join;
mod journal;
mod keep_alive;
#[cfg(not(feature = "small"))]
mod lent;
mod limits;
mod load;
mod look;
mod many;
mod model;
mod peer;
mod qos;
mod queue;
mod record;
mod recorded;
mod resubscribe;
mod resume;
mod retained;
mod side_by_side;
mod sim;
mod simulation;
mod snapshot;
mod store;
mod subscriptions;
mod total;
mod transitions;
mod unusual;
mod unusual_client;
mod violations;
mod will;
mod wire;
mod withdrawn;
mod words;
mod work;
mod world;
mod zero;
