//! The check of what comes in by VXLAN: its chain, and the set of members.
//!
//! It looks at the outer packet, whose source address the network vouches for, and reads the
//! source of the packet inside from its fixed place behind the UDP header. So one lookup says
//! both that the sender is a member and that it sends for its own pods.

use std::net::{IpAddr, Ipv4Addr};

use nlink::netlink::nftables::{
    CmpOp, Expr, LookupExpr, MetaKey, PayloadBase, Register, Rule as NftRule, Set, SetElement,
    SetKeyType,
};

use super::{FAMILY, Filter, failed};
use crate::NetError;
use crate::plan::{Cidr, MEMBERS_SET, OVERLAY_CHAIN, TABLE_NAME, overlay_rules};

/// Places behind the start of the UDP header (RFC 768, RFC 7348): 8 bytes of UDP, 8 of VXLAN
/// with the network's number in their fifth to seventh, 14 of Ethernet with the type in their
/// last two, and the source in the thirteenth to sixteenth of IPv4.
const VNI: (u32, u32) = (8 + 4, 3);
const INNER_TYPE: (u32, u32) = (8 + 8 + 12, 2);
const INNER_SOURCE: (u32, u32) = (8 + 8 + 14 + 12, 4);
/// The source in the outer IPv4 header.
const OUTER_SOURCE: (u32, u32) = (12, 4);

/// Ethernet's number for IPv4, and netfilter's.
const ETHERTYPE_IPV4: u16 = 0x0800;
const NFPROTO_IPV4: u8 = 2;

/// Elements in one message; a message's list of elements ends at 64 KiB.
const ELEMENTS_AT_ONCE: usize = 400;

impl Filter {
    /// Makes the set of members, if it is missing, and the rules that use it.
    pub(crate) async fn guard(&self, port: u16, vni: u32) -> Result<(), NetError> {
        let guard_failed = |error| failed("write", TABLE_NAME, error);
        let sets = self.connection.list_sets_in(TABLE_NAME, FAMILY).await;
        let exists = sets
            .map_err(guard_failed)?
            .iter()
            .any(|set| set.name == MEMBERS_SET);
        if !exists {
            let set = self.connection.add_set(members_set()).await;
            set.map_err(guard_failed)?;
        }
        self.write(&overlay_rules(port, vni)).await
    }

    /// Removes the rules and the set.
    pub(crate) async fn unguard(&self) -> Result<(), NetError> {
        let unguard_failed = |error| failed("write", TABLE_NAME, error);
        self.connection
            .del_chain_if_exists(TABLE_NAME, OVERLAY_CHAIN, FAMILY)
            .await
            .map_err(unguard_failed)?;
        self.connection
            .del_set_if_exists(TABLE_NAME, MEMBERS_SET, FAMILY)
            .await
            .map(drop)
            .map_err(unguard_failed)
    }

    /// The members in the set; none when there is no set.
    pub(crate) async fn members(&self) -> Result<Vec<(Ipv4Addr, Cidr)>, NetError> {
        let read_failed = |error| failed("read", TABLE_NAME, error);
        let sets = self.connection.list_sets_in(TABLE_NAME, FAMILY).await;
        let sets = sets.map_err(read_failed)?;
        if !sets.iter().any(|set| set.name == MEMBERS_SET) {
            return Ok(Vec::new());
        }
        let listed = self
            .connection
            .list_set_elements(TABLE_NAME, MEMBERS_SET, FAMILY);
        let elements = listed.await.map_err(read_failed)?;
        Ok(elements.iter().filter_map(read_member).collect())
    }

    /// Adds members.
    pub(crate) async fn add_members(&self, members: &[(Ipv4Addr, Cidr)]) -> Result<(), NetError> {
        let elements: Vec<_> = members.iter().filter_map(element).collect();
        let set = members_set();
        for part in elements.chunks(ELEMENTS_AT_ONCE) {
            let added = self.connection.add_set_elements(&set, part).await;
            added.map_err(|error| failed("write", TABLE_NAME, error))?;
        }
        Ok(())
    }

    /// Removes a member.
    pub(crate) async fn drop_member(&self, member: (Ipv4Addr, Cidr)) -> Result<(), NetError> {
        let Some(element) = element(&member) else {
            return Ok(());
        };
        let (set, elements) = (members_set(), [element]);
        let dropped = self.connection.del_set_elements(&set, &elements).await;
        dropped.map_err(|error| failed("write", TABLE_NAME, error))
    }
}

/// `type ipv4_addr . ipv4_addr; flags interval`: a node's address and its block.
fn members_set() -> Set {
    Set::new(TABLE_NAME, MEMBERS_SET)
        .family(FAMILY)
        .key_type(SetKeyType::Concat(vec![
            SetKeyType::Ipv4Addr,
            SetKeyType::Ipv4Addr,
        ]))
        .interval()
}

/// `None` for an IPv6 block, which the plan refuses.
fn element((node, block): &(Ipv4Addr, Cidr)) -> Option<SetElement> {
    let (IpAddr::V4(first), IpAddr::V4(last)) = (block.network(), block.last()) else {
        return None;
    };
    Some(SetElement::concat([
        SetElement::ipv4(*node),
        SetElement::ipv4_range(first, last),
    ]))
}

/// `None` for what is not a pair that [`element`] makes.
fn read_member(element: &SetElement) -> Option<(Ipv4Addr, Cidr)> {
    let word = |bytes: &[u8], at: usize| {
        let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(word))
    };
    let (key, end) = (element.key(), element.key_end().unwrap_or(element.key()));
    let (first, last) = (word(key, 4)?, word(end, 4)?);
    let host_bits = (u32::from(first) ^ u32::from(last)).count_ones();
    let block = Cidr::containing(first.into(), 32 - u8::try_from(host_bits).ok()?).ok()?;
    (block.last() == IpAddr::V4(last)).then_some((word(key, 0)?, block))
}

/// `udp dport PORT @th,96,24 VNI`
pub(super) fn vxlan(rule: NftRule, port: u16, vni: u32) -> NftRule {
    let [_, number @ ..] = vni.to_be_bytes();
    let rule = rule.match_udp_dport(port);
    compare(rule, PayloadBase::Transport, VNI, number.to_vec())
}

/// `@th,224,16 0x0800 ip saddr . @th,336,32 @SET`
pub(super) fn inner_source_in(rule: NftRule, set: &str) -> NftRule {
    let outer_is_ipv4 = Expr::Cmp {
        sreg: Register::R0,
        op: CmpOp::Eq,
        data: vec![NFPROTO_IPV4],
    };
    let rule = rule
        .then(Expr::Meta {
            dreg: Register::R0,
            key: MetaKey::NfProto,
        })
        .then(outer_is_ipv4);
    let ethertype = ETHERTYPE_IPV4.to_be_bytes().to_vec();
    let rule = compare(rule, PayloadBase::Transport, INNER_TYPE, ethertype);
    rule.then(load(Register::R0, PayloadBase::Network, OUTER_SOURCE))
        .then(load(
            Register::Reg32_01,
            PayloadBase::Transport,
            INNER_SOURCE,
        ))
        .then(Expr::Lookup(LookupExpr::new(set, Register::R0)))
}

fn compare(rule: NftRule, base: PayloadBase, place: (u32, u32), data: Vec<u8>) -> NftRule {
    rule.then(load(Register::R0, base, place)).then(Expr::Cmp {
        sreg: Register::R0,
        op: CmpOp::Eq,
        data,
    })
}

fn load(dreg: Register, base: PayloadBase, (offset, len): (u32, u32)) -> Expr {
    Expr::Payload {
        dreg,
        base,
        offset,
        len,
    }
}
