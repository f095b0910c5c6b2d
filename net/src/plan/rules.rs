//! The packet filter rules of a node, as data. [`crate::filter`] writes them with one atomic
//! transaction; nothing outside the table named here is ever read or changed.

use super::Cidr;

/// The one nftables table that belongs to Kabuki.
pub const TABLE_NAME: &str = "kabuki";

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
}

/// What happens to a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It gets the source address of the interface by which it leaves.
    Masquerade,
}

/// The rules that give the pods of one node the way out: what leaves the cluster is
/// masqueraded, for nothing outside knows a route back to a pod; what goes to other pods or
/// to nodes keeps its source. Forwarding to and from pods is accepted.
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
    RuleSet {
        table: TABLE_NAME.to_owned(),
        chains: vec![
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_traffic_that_leaves_the_cluster_is_masqueraded() {
        let pods: Cidr = "10.244.3.0/24".parse().unwrap();
        let cluster: Cidr = "10.244.0.0/16".parse().unwrap();
        let set = node_rules("kabuki0", pods, cluster);
        assert_eq!(set.table, "kabuki");
        let egress = &set.chains[0];
        assert_eq!(egress.kind, ChainKind::SourceNat);
        assert_eq!(egress.rules.len(), 1);
        assert!(egress.rules[0].matches.contains(&Match::From(pods)));
        assert!(egress.rules[0].matches.contains(&Match::NotTo(cluster)));
        assert_eq!(egress.rules[0].verdict, Verdict::Masquerade);
        assert!(
            set.chains[1]
                .rules
                .iter()
                .all(|r| r.verdict == Verdict::Accept)
        );
    }
}
