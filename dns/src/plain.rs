//! Questions that hold more than a plain one does (a signature, records that do not belong there)
//! go through hickory's types: it decides whether they are messages at all, and what is asked is
//! asked again in the plain way. Pure.

use hickory_proto::op::{Message, MessageType, OpCode};

/// The same question as a plain packet; `None` when it is no message.
pub(crate) fn simplify(packet: &[u8]) -> Option<Vec<u8>> {
    let message = Message::from_vec(packet).ok()?;
    let old = &message.metadata;
    let mut plain = Message::new(old.id, MessageType::Query, OpCode::Query);
    plain.metadata.recursion_desired = old.recursion_desired;
    plain.metadata.checking_disabled = old.checking_disabled;
    plain.metadata.authentic_data = old.authentic_data;
    plain.add_query(message.queries.first()?.clone());
    if let Some(edns) = &message.edns {
        let mut own = hickory_proto::op::Edns::new();
        own.set_max_payload(edns.max_payload())
            .set_version(edns.version())
            .set_dnssec_ok(edns.flags().dnssec_ok);
        plain.set_edns(own);
    }
    plain.to_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Query, Unanswerable};

    #[test]
    fn what_is_odd_but_a_message_becomes_a_plain_question() {
        let mut packet = b"\0\x07\x01\0\0\x01\0\x01\0\0\0\0\x01A\0\0\x01\0\x01".to_vec();
        packet.extend(b"\x01b\0\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04");
        let mut query = Query::default();
        assert_eq!(query.read(&packet), Err(Unanswerable::Odd));
        let plain = simplify(&packet).expect("is a message");
        assert_eq!(query.read(&plain), Ok(()));
        assert_eq!((query.id, query.name.to_string().as_str()), (7, "a."));
        assert!(plain.windows(2).any(|w| w == b"\x01A"), "keeps its case");
        packet.truncate(packet.len() - 1);
        assert_eq!(simplify(&packet), None);
    }
}
