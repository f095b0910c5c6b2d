//! `spec.clusterIP`: one that was asked for by name, or any that is free. Those come from the upper
//! part of the range while it lasts (KEP-3070).

use super::{Claimant, PROBES, refuse};
use kabuki_model::allocation::{
    AddressRange, founded_range, has_address, held, ranges_of, reserved,
};
use kabuki_model::command::{Expect, Op};
use kabuki_model::k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kabuki_model::kind::service::{is_headless, service_type};
use kabuki_model::status::Cause;
use kabuki_model::view::Index;
use kabuki_model::{ObjectKey, Resource, StatusError};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// A range that takes new services, and the object that says so.
struct Usable {
    range: AddressRange,
    /// The ServiceCIDR and its revision; the cluster's first range has none in its first moment.
    told_by: Option<(ObjectKey, u64)>,
}

impl Usable {
    /// Makes sure that the range is not taken away meanwhile.
    fn require(self) -> Vec<Op> {
        let require = |(key, revision)| Op::Require {
            key,
            expect: Expect::Revision(revision),
        };
        self.told_by.map(require).into_iter().collect()
    }
}

pub(super) fn settle(who: &Claimant, spec: &mut ServiceSpec) -> Result<Vec<Op>, StatusError> {
    if !has_address(service_type(spec)) || is_headless(spec) {
        return Ok(Vec::new());
    }
    let given = spec.cluster_ips.as_ref().and_then(|c| c.first());
    match given.map(|text| (text.clone(), text.parse::<Ipv4Addr>())) {
        Some((text, _)) if who.has(Index::ServiceAddress, &text) => Ok(Vec::new()),
        Some((_, Ok(address))) => asked_for(who, address),
        // Validation has refused every other text.
        Some((text, Err(_))) => refuse(who.key, invalid(&text, "it is no IPv4 address")),
        None => {
            let (address, range) = any(who)?;
            spec.cluster_ip = Some(address.to_string());
            spec.cluster_ips = Some(vec![address.to_string()]);
            Ok(range.require())
        }
    }
}

fn usable(who: &Claimant) -> Vec<Usable> {
    let mut all = Vec::new();
    let mut told = false;
    for stored in who.view.scan(&Resource::SERVICE_CIDRS, None, None) {
        told = true;
        if stored.meta().deletion_timestamp.is_none() {
            all.extend(ranges_of(stored).into_iter().map(|range| Usable {
                range,
                told_by: Some((stored.key.clone(), stored.revision)),
            }));
        }
    }
    if !told {
        all.extend(founded_range(who.view).map(|range| Usable {
            range,
            told_by: None,
        }));
    }
    all
}

/// The addresses of the cluster's own services, unless the claimant is that service.
fn kept_back(who: &Claimant) -> Vec<Ipv4Addr> {
    let own = founded_range(who.view).map(reserved).unwrap_or_default();
    let others = own.into_iter().filter(|(key, _)| key != who.key);
    others.map(|(_, address)| address).collect()
}

fn asked_for(who: &Claimant, address: Ipv4Addr) -> Result<Vec<Op>, StatusError> {
    let text = address.to_string();
    let ranges = usable(who);
    let shown: Vec<String> = ranges.iter().map(|u| u.range.to_string()).collect();
    let Some(range) = ranges.into_iter().find(|u| u.range.holds(address)) else {
        let why = format!(
            "the provided IP ({text}) is not in the valid range. The range of valid IPs is {}",
            shown.join(", ")
        );
        return refuse(who.key, invalid(&text, &why));
    };
    if who.is_taken(Index::ServiceAddress, &text) || kept_back(who).contains(&address) {
        return refuse(who.key, invalid(&text, "provided IP is already allocated"));
    }
    Ok(range.require())
}

fn invalid(address: &str, why: &str) -> Cause {
    let why = format!("failed to allocate IP {address}: {why}");
    Cause::invalid("spec.clusterIPs", [address], &why)
}

fn any(who: &Claimant) -> Result<(Ipv4Addr, Usable), StatusError> {
    let kept = kept_back(who);
    let ranges = usable(who);
    let mut shown = Vec::new();
    for (number, usable) in ranges.into_iter().enumerate() {
        let random = who.random(u32::try_from(number).unwrap_or(0));
        let range = usable.range;
        let band = range.static_band();
        for places in [band + 1..=range.size(), 1..=band] {
            if let Some(address) = free(who, range, places, &kept, random) {
                return Ok((address, usable));
            }
        }
        shown.push(range.to_string());
    }
    let why = match shown.is_empty() {
        true => "failed to allocate a serviceIP: the cluster has no range of service addresses; \
                 create a ServiceCIDR"
            .to_string(),
        false => format!(
            "failed to allocate a serviceIP: range is full: {}; delete services, or create a \
             ServiceCIDR with another range",
            shown.join(", ")
        ),
    };
    let who = who.key;
    Err(StatusError::forbidden(&who.resource, &who.name, &why))
}

fn free(
    who: &Claimant,
    range: AddressRange,
    places: RangeInclusive<u32>,
    kept: &[Ipv4Addr],
    random: u64,
) -> Option<Ipv4Addr> {
    let count = u64::from((places.end() + 1).checked_sub(*places.start())?);
    if count == 0 {
        return None;
    }
    let start = random % count;
    let at = |step: u64| {
        let place = u64::from(*places.start()) + (start + step) % count;
        range.at(u32::try_from(place).ok()?)
    };
    let probed = (0..count.min(u64::from(PROBES))).filter_map(at);
    let open = |a: &Ipv4Addr| !kept.contains(a);
    let found = probed
        .filter(open)
        .find(|a| !who.is_taken(Index::ServiceAddress, &a.to_string()));
    if found.is_some() || count <= u64::from(PROBES) {
        return found;
    }
    let taken = all_taken(who);
    let rest = (u64::from(PROBES)..count).filter_map(at);
    rest.filter(open).find(|a| !taken.contains(a))
}

/// The addresses of all services: the range is crowded.
fn all_taken(who: &Claimant) -> BTreeSet<Ipv4Addr> {
    let services = who.view.scan(&Resource::SERVICES, None, None);
    let typed = services.filter_map(|s| s.typed::<Service>().ok());
    let values = typed.flat_map(|s| held(&s));
    let addresses = values.filter(|(index, _)| *index == Index::ServiceAddress);
    addresses
        .filter_map(|(_, text)| text.parse().ok())
        .collect()
}
