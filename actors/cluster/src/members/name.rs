//! The name under which a process takes part in ractor_cluster: its node and its boot. ractor
//! tells sessions apart by this name; with the boot in it a restarted node never loses against
//! its own half-open session.

use prost::Message;

/// The fields of ractor_cluster's `NameMessage` that matter, with its numbers: the type itself
/// cannot be named from outside.
#[derive(Clone, PartialEq, Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    flags: Option<Flags>,
    #[prost(string, tag = "3")]
    connection_string: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Flags {
    #[prost(uint32, tag = "1")]
    version: u32,
}

/// The name of a process.
pub(super) fn of_process(node: &str, boot: u64) -> String {
    format!("{node}/{boot:016x}")
}

/// The node of such a name.
pub(super) fn node_of(process: &str) -> Option<&str> {
    let (node, boot) = process.rsplit_once('/')?;
    u64::from_str_radix(boot, 16).ok().map(|_| node)
}

/// ractor_cluster's own message with the name of this process. It is made from its encoded form;
/// `None` only if ractor_cluster had changed its format.
pub(super) fn message<M: Message + Default>(node: &str, boot: u64) -> Option<M> {
    let name = of_process(node, boot);
    let encoded = Name {
        // Compared with the other's to find connections to oneself; nobody dials it.
        connection_string: name.clone(),
        name,
        flags: Some(Flags { version: 1 }),
    };
    M::decode(encoded.encode_to_vec().as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_carries_node_and_boot() {
        let name = of_process("web-1.example", 0xabc);
        assert_eq!(node_of(&name), Some("web-1.example"));
        assert_eq!(node_of("web-1"), None);
        assert_eq!(node_of("web-1/x"), None);
    }
}
