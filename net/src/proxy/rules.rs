//! The rules: what every node has, and those of one shape.

use std::net::IpAddr;

use super::ProxyConfig;
use super::wire::{
    ENDPOINTS, FRONTS, HAIRPINS, LOCAL_MEMBERS, MEMBERS, MEMORY, NODE_PORTS, OUTSIDE, SHAPES,
    SOURCES,
};
use crate::nft::{Batch, Hook, Load, RuleBody, Take};
use crate::plan::Cidr;
use crate::plan::services::{Route, Scope, Shape, TCP};

const PREROUTING: &str = "service-prerouting";
const OUTPUT: &str = "service-output";
const POSTROUTING: &str = "service-postrouting";
const SERVICES: &str = "services";
const NODE: &str = "service-node";
const REFUSE: &str = "service-refuse";

/// Where translation of destinations and of sources has its place (`NF_IP_PRI_NAT_DST`,
/// `NF_IP_PRI_NAT_SRC`).
const DESTINATIONS: i32 = -100;
const SOURCES_PRIORITY: i32 = 100;

const HOOKS: [(&str, Hook); 3] = [
    (
        PREROUTING,
        Hook {
            number: 0,
            priority: DESTINATIONS,
        },
    ),
    (
        OUTPUT,
        Hook {
            number: 3,
            priority: DESTINATIONS,
        },
    ),
    (
        POSTROUTING,
        Hook {
            number: 4,
            priority: SOURCES_PRIORITY,
        },
    ),
];

/// All chains but those of shapes.
pub(super) const CHAINS: [&str; 6] = [PREROUTING, OUTPUT, POSTROUTING, SERVICES, NODE, REFUSE];

const NFPROTO_IPV4: u8 = 2;
/// `RTN_LOCAL`
const LOCAL: u32 = 2;
/// `IPS_DST_NAT`
const TRANSLATED: u32 = 1 << 5;

/// Makes the chains that do not depend on services. Their sets must exist.
pub(super) fn write_chains(batch: &mut Batch) {
    for (chain, hook) in HOOKS {
        batch.add_chain(chain, Some(hook));
    }
    batch.add_chain(SERVICES, None);
    batch.add_chain(NODE, None);
    batch.add_chain(REFUSE, None);
}

/// Fills them.
pub(super) fn write_rules(batch: &mut Batch, config: &ProxyConfig) {
    for chain in CHAINS {
        batch.flush_chain(chain);
    }
    for chain in [PREROUTING, OUTPUT] {
        batch.add_rule(chain, &RuleBody::new().jump(SERVICES));
    }
    for rule in services(config) {
        batch.add_rule(SERVICES, &rule);
    }
    batch.add_rule(NODE, &node_ports());
    let tcp = RuleBody::new().load(Load::Protocol, 0).only_if(0, &[TCP]);
    batch.add_rule(REFUSE, &tcp.reset());
    batch.add_rule(REFUSE, &RuleBody::new().unreachable());
    for rule in postrouting(config) {
        batch.add_rule(POSTROUTING, &rule);
    }
}

fn services(config: &ProxyConfig) -> Vec<RuleBody> {
    let not_ipv4 = RuleBody::new().load(Load::Family, 0);
    let mut rules = vec![not_ipv4.unless(0, &[NFPROTO_IPV4]).done()];
    rules.push(front(false).verdict(SHAPES, 3));
    // The node's own addresses: its ports, and else whatever listens there.
    let own = RuleBody::new().load(Load::DestinationType, 0);
    rules.push(own.only_if(0, &LOCAL.to_ne_bytes()).goto(NODE));
    // An address that no service has, or a port that its service has not: the way out would
    // lead nowhere, and nobody would say so.
    for range in &config.ranges {
        rules.push(within(RuleBody::new(), Load::Destination, *range, true).goto(REFUSE));
    }
    rules
}

/// Ports of the node, on all its addresses but those that only itself can reach.
fn node_ports() -> RuleBody {
    let mut rule = RuleBody::new();
    if let Ok(loopback) = Cidr::containing(IpAddr::from([127, 0, 0, 0]), 8) {
        rule = within(rule, Load::Destination, loopback, false);
    }
    rule.append(front(true)).verdict(SHAPES, 3)
}

fn postrouting(config: &ProxyConfig) -> Vec<RuleBody> {
    let translated = || {
        RuleBody::new()
            .load(Load::Family, 0)
            .only_if(0, &[NFPROTO_IPV4])
            .load(Load::ConnectionStatus, 0)
            .mask(0, TRANSLATED.to_ne_bytes())
            .unless(0, &[0; 4])
    };
    // A pod that was sent to itself would answer itself, past the translation.
    let hairpin = translated()
        .load(Load::Source, 0)
        .load(Load::Destination, 1)
        .within(HAIRPINS, 0)
        .masquerade();
    // What does not come from a pod of this node, and goes to another machine, would be answered
    // past this node.
    let strange = || within(translated(), Load::Source, config.pods, false);
    let to_other_nodes = within(strange(), Load::Destination, config.cluster, true);
    let to_other_nodes = within(to_other_nodes, Load::Destination, config.pods, false);
    let to_outside = strange()
        .load(Load::Destination, 0)
        .load(Load::Protocol, 1)
        .load(Load::Port, 2)
        .within(OUTSIDE, 0);
    vec![
        hairpin,
        to_other_nodes.masquerade(),
        to_outside.masquerade(),
    ]
}

/// Goes on when an address is in a block, or is not.
fn within(rule: RuleBody, what: Load, block: Cidr, inside: bool) -> RuleBody {
    let IpAddr::V4(network) = block.network() else {
        return rule;
    };
    let hosts = u32::MAX
        .checked_shr(u32::from(block.prefix_len()))
        .unwrap_or(0);
    let rule = rule.load(what, 0).mask(0, (!hosts).to_be_bytes());
    match inside {
        true => rule.only_if(0, &network.octets()),
        false => rule.unless(0, &network.octets()),
    }
}

/// Finds the front: its shape is then in registers 3 and 4, its primary in 5 to 7.
fn front(node_port: bool) -> RuleBody {
    let rule = RuleBody::new();
    match node_port {
        false => rule
            .load(Load::Destination, 0)
            .load(Load::Protocol, 1)
            .load(Load::Port, 2)
            .map(FRONTS, 0, 3),
        true => rule
            .load(Load::Protocol, 0)
            .load(Load::Port, 1)
            .map(NODE_PORTS, 0, 3),
    }
}

/// The rules of a shape's chain.
pub(super) fn of_shape(shape: &Shape, config: &ProxyConfig) -> Vec<RuleBody> {
    let mut rules = Vec::new();
    if shape.guarded {
        let stranger = RuleBody::new()
            .load(Load::Destination, 0)
            .load(Load::Protocol, 1)
            .load(Load::Port, 2)
            .load(Load::Source, 3)
            .not_within(SOURCES, 0);
        rules.push(stranger.drop());
    }
    let anyone = RuleBody::new;
    match shape.route {
        _ if shape.refuses() => rules.push(anyone().goto(REFUSE)),
        Route::Cluster => pick(&mut rules, shape, Scope::Cluster, &anyone()),
        Route::Local => pick(&mut rules, shape, Scope::Local, &anyone()),
        Route::External => {
            let pods = within(anyone(), Load::Source, config.cluster, true);
            let own = anyone()
                .load(Load::SourceType, 0)
                .only_if(0, &LOCAL.to_ne_bytes());
            if shape.cluster > 0 {
                pick(&mut rules, shape, Scope::Cluster, &pods);
                pick(&mut rules, shape, Scope::Cluster, &own);
            }
            if shape.local > 0 {
                pick(&mut rules, shape, Scope::Local, &anyone());
            } else {
                // Another node has endpoints: the client's next attempt may reach it.
                rules.push(anyone().drop());
            }
        }
    }
    rules
}

/// Sends whoever meets the condition to one of the endpoints.
fn pick(rules: &mut Vec<RuleBody>, shape: &Shape, scope: Scope, who: &RuleBody) {
    let (modulus, members) = match scope {
        Scope::Cluster => (shape.cluster, MEMBERS),
        Scope::Local => (shape.local, LOCAL_MEMBERS),
    };
    let random = Load::Random {
        modulus,
        offset: scope.first_index(),
    };
    let start = || who.clone().append(front(shape.node_port));
    if let Some(seconds) = shape.affinity_s {
        // The key is the client's address before the primary: registers 4 to 7.
        let client = || start().load(Load::Source, 4);
        rules.push(
            client()
                .map(MEMORY, 4, 8)
                .within(members, 5)
                .remember(MEMORY, Take::Update, 4, 8, seconds)
                .translate(8, 9),
        );
        rules.push(
            client()
                .remember(MEMORY, Take::Delete, 4, 5, 0)
                .load(random, 8)
                .map(ENDPOINTS, 5, 9)
                .remember(MEMORY, Take::Add, 4, 9, seconds)
                .translate(9, 10),
        );
    }
    rules.push(
        start()
            .load(random, 8)
            .map(ENDPOINTS, 5, 9)
            .translate(9, 10),
    );
}
