//! The packet filter rules of a node, as data. [`crate::filter`] writes them with one atomic
//! transaction; nothing outside the table named here is ever read or changed.

use super::Cidr;

/// The one nftables table that belongs to Kabuki.
pub const TABLE_NAME: &str = "kabuki";

/// The chain that checks what comes in by VXLAN.
pub const OVERLAY_CHAIN: &str = "overlay-input";

/// The set of pairs of a node's address and its block of pod addresses.
pub const MEMBERS_SET: &str = "overlay-members";

/// The chains that a node needs in its table. Other chains of the table (those of services)
/// are left alone when this set is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// The table.
    pub table: String,
    /// Its chains with all their rules, in order.
    pub chains: Vec<Chain>,
}

/// A base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The chain's name.
    pub name: &'static str,
    /// Where it hooks in.
    pub kind: ChainKind,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// Where a chain hooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Source translation of packets that leave.
    SourceNat,
    /// Filtering of packets that pass through; what no rule matches is accepted.
    Forward,
    /// Filtering of all packets that come in, before anything else is done with them; what no
    /// rule matches is accepted.
    Arrival,
    /// Filtering of packets for the node itself; what no rule matches is accepted.
    Input,
}

/// All matches must hold for the verdict to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What the packet must be like.
    pub matches: Vec<Match>,
    /// What happens to it.
    pub verdict: Verdict,
}

/// A condition on a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Its source is in the block.
    From(Cidr),
    /// Its destination is in the block.
    To(Cidr),
    /// Its destination is outside the block.
    NotTo(Cidr),
    /// It does not leave by this interface.
    NotOutBy(String),
    /// It came in by this interface.
    InBy(String),
    /// Its source is outside the block.
    NotFrom(Cidr),
    /// What would go to its source would not leave by the interface that it came in by.
    NotTheWayBack,
    /// It is a VXLAN packet to this UDP port and of this network.
    Vxlan {
        /// The UDP port.
        port: u16,
        /// The network's number.
        vni: u32,
    },
    /// It is a VXLAN packet with an IPv4 packet inside, and the pair of its own source and the
    /// inner packet's is in the named set.
    InnerSourceIn(&'static str),
}

/// What happens to a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It goes no further, and nobody is told.
    Drop,
    /// It gets the source address of the interface by which it leaves.
    Masquerade,
}

/// The rules that give the pods of one node the way out: what leaves the cluster is
/// masqueraded, for nothing outside knows a route back to a pod; what goes to other pods or
/// to nodes keeps its source. Forwarding to and from pods is accepted.
///
/// What pretends to come from a pod must have come by the way that leads to that pod: from the
/// bridge for the node's own, by the VXLAN device or the shared segment for those of others. A
/// pod sends under no address but its node's pods'.
///
/// Accepting here ends only this table's chain. Where another program's table drops forwarded
/// packets, it still does: that table is not ours to change.
pub fn node_rules(bridge: &str, pods: Cidr, cluster: Cidr) -> RuleSet {
    let masquerade = Rule {
        matches: vec![
            Match::From(pods),
            Match::NotTo(cluster),
            Match::NotOutBy(bridge.to_owned()),
        ],
        verdict: Verdict::Masquerade,
    };
    let accept = |condition| Rule {
        matches: vec![condition],
        verdict: Verdict::Accept,
    };
    let drop = |matches| Rule {
        matches,
        verdict: Verdict::Drop,
    };
    RuleSet {
        table: TABLE_NAME.to_owned(),
        chains: vec![
            Chain {
                name: "pod-sources",
                kind: ChainKind::Arrival,
                rules: vec![
                    drop(vec![Match::InBy(bridge.to_owned()), Match::NotFrom(pods)]),
                    drop(vec![Match::From(cluster), Match::NotTheWayBack]),
                ],
            },
            Chain {
                name: "pod-egress",
                kind: ChainKind::SourceNat,
                rules: vec![masquerade],
            },
            Chain {
                name: "pod-forward",
                kind: ChainKind::Forward,
                rules: vec![accept(Match::From(pods)), accept(Match::To(pods))],
            },
        ],
    }
}

/// The rules that let in what members send by VXLAN, and nothing else: a packet must come from
/// the address of a member, and the packet inside it from that member's pods.
pub fn overlay_rules(port: u16, vni: u32) -> RuleSet {
    let vxlan = Match::Vxlan { port, vni };
    RuleSet {
        table: TABLE_NAME.to_owned(),
        chains: vec![Chain {
            name: OVERLAY_CHAIN,
            kind: ChainKind::Input,
            rules: vec![
                Rule {
                    matches: vec![vxlan.clone(), Match::InnerSourceIn(MEMBERS_SET)],
                    verdict: Verdict::Accept,
                },
                Rule {
                    matches: vec![vxlan],
                    verdict: Verdict::Drop,
                },
            ],
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vxlan_packets_that_no_rule_lets_in_are_dropped() {
        let set = overlay_rules(8472, 7);
        let [accept, drop] = &set.chains[0].rules[..] else {
            panic!("two rules: {set:?}");
        };
        assert_eq!(accept.verdict, Verdict::Accept);
        assert!(accept.matches.contains(&Match::InnerSourceIn(MEMBERS_SET)));
        assert_eq!(drop.verdict, Verdict::Drop);
        // Other networks on the same port are other programs'.
        assert_eq!(drop.matches, [Match::Vxlan { port: 8472, vni: 7 }]);
    }

    #[test]
    fn only_traffic_that_leaves_the_cluster_is_masqueraded() {
        let pods: Cidr = "10.244.3.0/24".parse().unwrap();
        let cluster: Cidr = "10.244.0.0/16".parse().unwrap();
        let set = node_rules("kabuki0", pods, cluster);
        assert_eq!(set.table, "kabuki");
        let egress = &set.chains[1];
        assert_eq!(egress.kind, ChainKind::SourceNat);
        assert_eq!(egress.rules.len(), 1);
        assert!(egress.rules[0].matches.contains(&Match::From(pods)));
        assert!(egress.rules[0].matches.contains(&Match::NotTo(cluster)));
        assert_eq!(egress.rules[0].verdict, Verdict::Masquerade);
        assert!(
            set.chains[2]
                .rules
                .iter()
                .all(|r| r.verdict == Verdict::Accept)
        );
    }
}
