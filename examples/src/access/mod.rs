//! Who may connect, publish and subscribe: files, and what they say. No connections and no time.

pub mod acl;
pub mod password;
