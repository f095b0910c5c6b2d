//! Writes [`RuleSet`]s to the kernel through nlink, and the set of the overlay's members. Only
//! this module knows nlink.
//!
//! Every change is one transaction: applied whole or not at all. Only the named table is
//! touched.

mod overlay;

use std::os::fd::AsFd;

use nlink::netlink::nftables::{
    BaseChain, Chain as NftChain, CmpOp, Expr, Family, FibFlags, FibResult, FilterHook, NatHook,
    Policy, Priority, Register, Rule as NftRule,
};
use nlink::netlink::{Connection, Nftables};

use crate::plan::{Chain, ChainKind, Match, Rule, RuleSet, Verdict};
use crate::{NetError, Netns};

/// One family for IPv4 and IPv6 (nftables' `inet`).
const FAMILY: Family = Family::Inet;

/// The packet filter of one network namespace.
pub(crate) struct Filter {
    connection: Connection<Nftables>,
}

impl Filter {
    /// Opens a socket in `netns`. Must be called within a tokio runtime.
    pub(crate) fn open(netns: &Netns) -> Result<Self, NetError> {
        let connection = Connection::<Nftables>::new_in(netns.as_fd())
            .map_err(|error| failed("open", "(socket)", error))?;
        Ok(Self { connection })
    }

    /// Makes the chains of `rules` exactly what they say, in one transaction. Other chains of
    /// the table stay.
    pub(crate) async fn write(&self, rules: &RuleSet) -> Result<(), NetError> {
        let table = rules.table.as_str();
        let write_failed = |error| failed("write", table, error);
        let mut transaction = self.connection.transaction().update_table(table, FAMILY, 0);
        for chain in &rules.chains {
            transaction = transaction
                .update_chain(nft_chain(table, chain).map_err(write_failed)?)
                .flush_chain(table, chain.name, FAMILY);
            for rule in &chain.rules {
                transaction = transaction.add_rule(nft_rule(table, chain.name, rule));
            }
        }
        transaction
            .commit(&self.connection)
            .await
            .map_err(write_failed)
    }

    /// Removes the table with all it holds, and says whether there was one.
    pub(crate) async fn remove(&self, table: &str) -> Result<bool, NetError> {
        self.connection
            .del_table_if_exists(table, FAMILY)
            .await
            .map_err(|error| failed("remove", table, error))
    }
}

fn failed(operation: &'static str, table: &str, error: nlink::Error) -> NetError {
    NetError::Filter {
        operation,
        table: table.to_owned(),
        source: Box::new(error),
    }
}

fn nft_chain(table: &str, chain: &Chain) -> Result<NftChain, nlink::Error> {
    let base = match chain.kind {
        ChainKind::SourceNat => BaseChain::nat(NatHook::Postrouting, Priority::SrcNat),
        ChainKind::Forward => BaseChain::filter(FilterHook::Forward, Priority::Filter),
        ChainKind::Arrival => BaseChain::filter(FilterHook::Prerouting, Priority::Raw),
        ChainKind::Input => BaseChain::filter(FilterHook::Input, Priority::Filter),
    };
    Ok(NftChain::new(table, chain.name)?
        .family(FAMILY)
        .base(base.policy(Policy::Accept)))
}

fn nft_rule(table: &str, chain: &str, rule: &Rule) -> NftRule {
    let mut out = NftRule::new(table, chain).family(FAMILY);
    for condition in &rule.matches {
        out = match condition {
            Match::From(block) => out.match_saddr(block.network(), block.prefix_len()),
            Match::To(block) => out.match_daddr(block.network(), block.prefix_len()),
            Match::NotTo(block) => out.match_daddr_not(block.network(), block.prefix_len()),
            Match::NotOutBy(interface) => out.match_oif_not(interface),
            Match::InBy(interface) => out.match_iif(interface),
            Match::NotFrom(block) => out.match_saddr_not(block.network(), block.prefix_len()),
            Match::NotTheWayBack => not_the_way_back(out),
            Match::Vxlan { port, vni } => overlay::vxlan(out, *port, *vni),
            Match::InnerSourceIn(set) => overlay::inner_source_in(out, set),
        };
    }
    match rule.verdict {
        Verdict::Accept => out.accept(),
        Verdict::Masquerade => out.masquerade(),
        Verdict::Drop => out.drop(),
    }
}

/// `fib saddr . iif oif missing`: no route to the source leaves by the incoming interface.
fn not_the_way_back(rule: NftRule) -> NftRule {
    let lookup = Expr::Fib {
        dreg: Register::R0,
        result: FibResult::Oif,
        flags: FibFlags::SADDR | FibFlags::IIF,
    };
    let missing = Expr::Cmp {
        sreg: Register::R0,
        op: CmpOp::Eq,
        data: vec![0; 4],
    };
    rule.then(lookup).then(missing)
}
