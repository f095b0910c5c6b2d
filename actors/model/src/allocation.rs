//! The ranges that services' addresses and node ports come from, and what a service holds of
//! them. The Service object itself is the claim: nothing else is kept, so nothing can leak.
//!
//! A range has two bands (KEP-3070, KEP-3668): numbers that nobody asked for by name come from the
//! upper one while it lasts, so that people find theirs free in the lower one.

use crate::object::{ObjectKey, Resource, Stored};
use crate::service::Protocol;
use crate::view::{Index, View};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The ports of nodes that services may have.
pub const NODE_PORTS: RangeInclusive<u16> = 30000..=32767;
/// The place in the range of the address of the service `default/kubernetes`.
pub const API_ADDRESS: u32 = 1;
/// The place in the range of the address of the cluster's name server.
pub const DNS_ADDRESS: u32 = 10;

/// Keeps a ServiceCIDR while services have addresses of it.
pub const SERVICE_CIDR_FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

/// A range of IPv4 addresses that services' addresses come from. Its first and its last address
/// are given to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: u32,
    length: u8,
}

/// A text is no range of IPv4 addresses in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of IPv4 addresses in canonical form, as 10.96.0.0/16 is")]
pub struct NoRange(String);

impl FromStr for AddressRange {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, NoRange> {
        let parse = || {
            let (address, length) = text.split_once('/')?;
            let first = u32::from(address.parse::<Ipv4Addr>().ok()?);
            let length: u8 = length.parse().ok().filter(|l| *l <= 32)?;
            let range = Self { first, length };
            (first & range.host_bits() == 0 && range.to_string() == text).then_some(range)
        };
        parse().ok_or_else(|| NoRange(text.to_string()))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.length)
    }
}

impl AddressRange {
    fn host_bits(self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.length)).unwrap_or(0)
    }

    /// How many addresses can be given out.
    pub fn size(self) -> u32 {
        self.host_bits().saturating_sub(1)
    }

    /// The address at a place from 1 to [`Self::size`].
    pub fn at(self, place: u32) -> Option<Ipv4Addr> {
        (1..=self.size())
            .contains(&place)
            .then(|| Ipv4Addr::from(self.first + place))
    }

    /// Whether the address can be given out of this range.
    pub fn holds(self, address: Ipv4Addr) -> bool {
        let place = u32::from(address).wrapping_sub(self.first);
        (1..=self.size()).contains(&place)
    }

    /// Whether all addresses of `other` are in this range.
    pub fn contains(self, other: Self) -> bool {
        other.length >= self.length && other.first & !self.host_bits() == self.first
    }

    /// How many of the first places are kept for those who ask by name.
    pub fn static_band(self) -> u32 {
        match self.size() {
            0..=16 => 0,
            size => (size / 16).clamp(16, 256),
        }
    }
}

/// The range that the cluster was founded with; the ConfigMap that says so is written at founding.
pub fn founded_range(view: &dyn View) -> Option<AddressRange> {
    let charter = ObjectKey::new(Resource::CONFIG_MAPS, "kube-system", "kabuki-cluster");
    let charter = view.get(&charter)?.typed::<ConfigMap>().ok()?;
    charter.data.as_ref()?.get("serviceCidr")?.parse().ok()
}

/// The ranges of a ServiceCIDR.
pub fn ranges_of(stored: &Stored) -> Vec<AddressRange> {
    let Ok(object) = stored.typed::<ServiceCIDR>() else {
        return Vec::new();
    };
    let texts = object.spec.as_ref().and_then(|s| s.cidrs.as_deref());
    let texts = texts.unwrap_or_default().iter();
    texts.filter_map(|t| t.parse().ok()).collect()
}

/// The addresses that are kept for the cluster's own services before these exist: whose, and which.
pub fn reserved(founded: AddressRange) -> Vec<(ObjectKey, Ipv4Addr)> {
    let own = [
        ("default", "kubernetes", API_ADDRESS),
        ("kube-system", "kube-dns", DNS_ADDRESS),
    ];
    let own = own.into_iter().filter_map(|(namespace, name, place)| {
        let key = ObjectKey::new(Resource::SERVICES, namespace, name);
        Some((key, founded.at(place)?))
    });
    own.collect()
}

/// How many of [`NODE_PORTS`] are kept for those who ask by number: `min(max(16, size/32), 128)`.
pub fn node_port_band() -> u16 {
    let size = NODE_PORTS.end() - NODE_PORTS.start() + 1;
    (size / 32).clamp(16, 128)
}

/// Whether a service of this type has an address of its own, unless it is headless.
pub fn has_address(service_type: &str) -> bool {
    service_type != "ExternalName"
}

/// Whether a service of this type has ports on the nodes.
pub fn has_node_ports(service_type: &str) -> bool {
    matches!(service_type, "NodePort" | "LoadBalancer")
}

/// How the index names a port of the nodes.
pub fn port_value(protocol: Protocol, port: u16) -> String {
    format!("{}/{port}", protocol.as_str())
}

/// What a service holds: addresses and ports of the nodes, each under the index that finds it.
pub fn held(service: &Service) -> Vec<(Index, String)> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let service_type = spec.type_.as_deref().unwrap_or("ClusterIP");
    let mut all = Vec::new();
    if has_address(service_type) {
        let addresses = spec.cluster_ips.iter().flatten();
        let addresses = addresses.filter(|a| !a.is_empty() && *a != "None");
        all.extend(addresses.map(|a| (Index::ServiceAddress, a.clone())));
    }
    if has_node_ports(service_type) {
        let health = spec.health_check_node_port.map(|p| (Protocol::Tcp, p));
        let ports = spec.ports.iter().flatten().filter_map(|p| {
            let protocol = Protocol::parse(p.protocol.as_deref().unwrap_or("TCP"))?;
            Some((protocol, p.node_port?))
        });
        for (protocol, port) in ports.chain(health) {
            if let Ok(port @ 1..) = u16::try_from(port) {
                all.push((Index::NodePort, port_value(protocol, port)));
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_range_gives_neither_its_first_nor_its_last_address() {
        let range: AddressRange = "10.96.0.0/29".parse().expect("a range");
        assert_eq!(range.size(), 6);
        assert_eq!(range.at(0), None);
        assert_eq!(range.at(1), Some(Ipv4Addr::new(10, 96, 0, 1)));
        assert_eq!(range.at(6), Some(Ipv4Addr::new(10, 96, 0, 6)));
        assert_eq!(range.at(7), None);
        assert!(!range.holds(Ipv4Addr::new(10, 96, 0, 0)));
        assert!(!range.holds(Ipv4Addr::new(10, 96, 0, 7)));
        assert!(!range.holds(Ipv4Addr::new(10, 95, 255, 255)));
        for tiny in ["10.0.0.0/31", "10.0.0.1/32"] {
            assert_eq!(tiny.parse::<AddressRange>().map(AddressRange::size), Ok(0));
        }
        let all: AddressRange = "0.0.0.0/0".parse().expect("a range");
        assert!(all.holds(Ipv4Addr::new(10, 0, 0, 1)) && all.contains(range));
        assert!(!range.contains(all));
    }

    #[test]
    fn only_canonical_ranges_are_read() {
        for text in [
            "10.96.0.1/16",
            "10.96.0.0/016",
            "10.96.0.0",
            "10.96.0.0/33",
            "fd00::/8",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_lower_band_is_kubernetes() {
        let band = |text: &str| text.parse::<AddressRange>().expect(text).static_band();
        assert_eq!(band("10.0.0.0/28"), 0);
        assert_eq!(band("10.0.0.0/27"), 16);
        assert_eq!(band("10.0.0.0/24"), 16);
        assert_eq!(band("10.0.0.0/22"), 63);
        assert_eq!(band("10.0.0.0/16"), 256);
        assert_eq!(node_port_band(), 86);
    }

    #[test]
    fn a_service_holds_what_its_type_gives_it() {
        let holds = |service_type: &str| {
            let service: Service = serde_json::from_value(json!({
                "metadata": {}, "spec": {
                    "type": service_type, "clusterIPs": ["10.96.0.5"], "healthCheckNodePort": 30001,
                    "ports": [
                        {"port": 53, "protocol": "UDP", "nodePort": 30053},
                        {"port": 53, "protocol": "TCP", "nodePort": 30053},
                        {"port": 54, "nodePort": 0},
                    ],
                },
            }))
            .expect("decodes");
            held(&service)
                .into_iter()
                .map(|(_, v)| v)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            holds("LoadBalancer"),
            ["10.96.0.5", "TCP/30001", "TCP/30053", "UDP/30053"]
        );
        assert_eq!(holds("ClusterIP"), ["10.96.0.5"]);
        assert!(holds("ExternalName").is_empty());
    }
}
