//! Giving endpoints to zones in proportion to their processors, as far as that is safe.
//!
//! Safeguards (Kubernetes, "Topology Aware Routing"): there are at least as many endpoints as
//! zones, and no endpoint gets more than 20 % more than its part of the load. As long as that
//! holds, endpoints stay with the zones that they have been for.

use std::collections::BTreeMap;

/// How much more than its part an endpoint may get.
const OVERLOAD: f64 = 0.2;

/// An endpoint: where it is, and for whom it has been so far.
pub(super) struct Stays {
    pub zone: String,
    pub hinted: Option<String>,
}

/// How many endpoints a zone is to have.
struct Part {
    minimum: usize,
    maximum: usize,
    desired: f64,
}

/// For which zone each endpoint is, in the same order; or why that cannot be said.
pub(super) fn assign(
    endpoints: &[Stays],
    shares: &BTreeMap<String, f64>,
) -> Result<Vec<String>, String> {
    let parts = parts(endpoints.len(), shares)?;
    let before: Option<Vec<String>> = endpoints.iter().map(|e| e.hinted.clone()).collect();
    if let Some(before) = before
        && is_sound(&before, &parts)
    {
        return Ok(before);
    }
    let mut zones: Vec<String> = endpoints.iter().map(|e| e.zone.clone()).collect();
    // Nobody asks from a zone without ready nodes: its endpoints are for those who lack most.
    for at in 0..zones.len() {
        if !parts.contains_key(&zones[at])
            && let Some((neediest, _)) = most(&parts, &zones, |has, part| part.desired - has)
        {
            zones[at] = neediest;
        }
    }
    redistribute(&mut zones, &parts);
    match is_sound(&zones, &parts) {
        true => Ok(zones),
        false => Err(exceeds(zones.len(), parts.len())),
    }
}

fn exceeds(endpoints: usize, zones: usize) -> String {
    format!(
        "minimum allocation of required endpoints exceeds the overload threshold ({endpoints} \
         endpoints, {zones} zones)"
    )
}

fn parts(
    endpoints: usize,
    shares: &BTreeMap<String, f64>,
) -> Result<BTreeMap<String, Part>, String> {
    let zones = shares.len();
    if zones > endpoints {
        return Err(format!(
            "insufficient number of endpoints ({endpoints} endpoints, {zones} zones)"
        ));
    }
    let least = |share: f64| (share * endpoints as f64 / (1.0 + OVERLOAD)).ceil() as usize;
    let total: usize = shares.values().map(|share| least(*share)).sum();
    let Some(free) = endpoints.checked_sub(total) else {
        return Err(exceeds(endpoints, zones));
    };
    let part = |(zone, share): (&String, &f64)| {
        let minimum = least(*share);
        let part = Part {
            minimum,
            maximum: minimum + free,
            desired: (share * endpoints as f64).max(minimum as f64),
        };
        (zone.clone(), part)
    };
    Ok(shares.iter().map(part).collect())
}

fn count(zones: &[String], zone: &str) -> usize {
    zones.iter().filter(|z| *z == zone).count()
}

/// Whether every endpoint is for a zone that counts, and no zone has too few or too many.
fn is_sound(zones: &[String], parts: &BTreeMap<String, Part>) -> bool {
    let within = |(zone, part): (&String, &Part)| {
        (part.minimum..=part.maximum).contains(&count(zones, zone))
    };
    zones.iter().all(|z| parts.contains_key(z)) && parts.iter().all(within)
}

/// The zone of which `measure` says most, if that is more than nothing.
fn most(
    parts: &BTreeMap<String, Part>,
    zones: &[String],
    measure: impl Fn(f64, &Part) -> f64,
) -> Option<(String, f64)> {
    let measured = parts.iter().map(|(zone, part)| {
        let has = count(zones, zone) as f64;
        (zone.clone(), measure(has, part))
    });
    measured
        .filter(|(_, much)| *much > 0.0)
        .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)))
}

/// Takes from those that have too many and gives to those that have too few, one at a time, until
/// less than half an endpoint is out of place.
fn redistribute(zones: &mut [String], parts: &BTreeMap<String, Part>) {
    // Each round brings one endpoint where it is to be; more rounds than endpoints help nobody.
    for _ in 0..zones.len() {
        let giving = most(parts, zones, |has, part| has - part.desired);
        let receiving = most(parts, zones, |has, part| part.desired - has);
        let (Some((from, spare)), Some((to, lacking))) = (giving, receiving) else {
            return;
        };
        if (spare < 1.0 && lacking < 1.0) || spare < 0.5 || lacking < 0.5 {
            return;
        }
        // The last ones are the newest, as a rule.
        let Some(place) = zones.iter().rposition(|z| *z == from) else {
            return;
        };
        zones[place] = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(zones: &[(&str, f64)]) -> BTreeMap<String, f64> {
        zones.iter().map(|(z, s)| (z.to_string(), *s)).collect()
    }

    fn fresh(zones: &[&str]) -> Vec<Stays> {
        let one = |zone: &&str| Stays {
            zone: zone.to_string(),
            hinted: None,
        };
        zones.iter().map(one).collect()
    }

    fn counted(zones: &[String]) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for zone in zones {
            *counts.entry(zone.as_str()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn balanced_endpoints_are_for_their_own_zones() {
        let half = shares(&[("a", 0.5), ("b", 0.5)]);
        let zones = assign(&fresh(&["a", "b", "a", "b"]), &half).unwrap();
        assert_eq!(zones, ["a", "b", "a", "b"]);
    }

    #[test]
    fn a_zone_with_more_processors_gets_more_endpoints() {
        let shares = shares(&[("a", 2.0 / 3.0), ("b", 1.0 / 3.0)]);
        let nine = fresh(&["a", "a", "a", "a", "b", "b", "b", "b", "b"]);
        let zones = assign(&nine, &shares).unwrap();
        assert_eq!(counted(&zones), BTreeMap::from([("a", 6), ("b", 3)]));
        // Only as many as need be are given away.
        let moved = nine.iter().zip(&zones).filter(|(e, z)| e.zone != **z);
        assert_eq!(moved.count(), 2);
    }

    #[test]
    fn what_cannot_be_balanced_is_refused() {
        let thirds = shares(&[("a", 1.0 / 3.0), ("b", 1.0 / 3.0), ("c", 1.0 / 3.0)]);
        let few = assign(&fresh(&["a", "b"]), &thirds).unwrap_err();
        assert!(few.contains("insufficient number of endpoints (2 endpoints, 3 zones)"));
        // Two for each of three zones need six.
        for count in [4, 5] {
            let zones = vec!["a"; count];
            let over = assign(&fresh(&zones), &thirds).unwrap_err();
            assert!(over.contains("overload threshold"), "{over}");
        }
        assert!(assign(&fresh(&["a"; 6]), &thirds).is_ok());
        assert!(assign(&fresh(&["a"; 9]), &thirds).is_ok());
    }

    #[test]
    fn endpoints_of_a_zone_without_nodes_are_for_the_others() {
        let half = shares(&[("a", 0.5), ("b", 0.5)]);
        let zones = assign(&fresh(&["a", "c", "a", "c"]), &half).unwrap();
        assert_eq!(counted(&zones), BTreeMap::from([("a", 2), ("b", 2)]));
    }

    #[test]
    fn what_is_sound_stays_as_it_was() {
        let half = shares(&[("a", 0.5), ("b", 0.5)]);
        let held = |zone: &str, hinted: &str| Stays {
            zone: zone.to_string(),
            hinted: Some(hinted.to_string()),
        };
        let crossed = [
            held("a", "b"),
            held("b", "a"),
            held("a", "a"),
            held("b", "b"),
        ];
        assert_eq!(assign(&crossed, &half).unwrap(), ["b", "a", "a", "b"]);
        // What is no longer sound is begun anew.
        let tilted = [
            held("a", "a"),
            held("b", "a"),
            held("a", "a"),
            held("b", "a"),
        ];
        assert_eq!(assign(&tilted, &half).unwrap(), ["a", "b", "a", "b"]);
    }

    #[test]
    fn whatever_is_given_no_endpoint_is_overloaded() {
        for endpoints in 1..40_usize {
            for skew in 0..=endpoints {
                for weight in 1..10 {
                    let part = f64::from(weight) / 10.0;
                    let shares = shares(&[("a", part), ("b", 1.0 - part)]);
                    let zones: Vec<&str> = (0..endpoints)
                        .map(|n| if n < skew { "a" } else { "b" })
                        .collect();
                    let Ok(given) = assign(&fresh(&zones), &shares) else {
                        continue;
                    };
                    let counts = counted(&given);
                    for (zone, share) in &shares {
                        let has = counts.get(zone.as_str()).copied().unwrap_or(0) as f64;
                        let load = share * endpoints as f64 / has;
                        assert!(
                            load <= 1.0 + OVERLOAD + 1e-9,
                            "{zone} {load} {endpoints} {skew}"
                        );
                    }
                }
            }
        }
    }
}
