//! Writers who decide on states that others have changed meanwhile: whatever they do in whatever
//! order, no address and no port has two holders, and what nobody holds is free.

use super::world::{World, key, of_type, patch_of, service};
use kabuki_admission::{Completed, Verdict};
use kabuki_model::allocation::held;
use kabuki_model::k8s_openapi::api::core::v1::Service;
use kabuki_model::request::{DeleteOptions, Request};
use kabuki_model::view::{Index, MapView, View};
use kabuki_model::{Resource, StatusError};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

/// Who holds each value.
fn holders(view: &MapView) -> BTreeMap<(Index, String), Vec<String>> {
    let mut all: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for stored in view.scan(&Resource::SERVICES, None, None) {
        let typed = stored.typed::<Service>().expect("decodes");
        for entry in held(&typed) {
            all.entry(entry)
                .or_default()
                .push(stored.key.name.to_string());
        }
    }
    all
}

#[test]
fn the_second_of_two_who_chose_the_same_chooses_anew() {
    let mut world = World::new("10.96.0.0/29");
    let asked = json!({"clusterIP": "10.96.0.3", "ports": [{"port": 80}]});
    let requests = [service("a", &asked), service("b", &asked)];
    let view = world.view.clone();
    let verdicts = requests.each_ref().map(|r| world.admit_on(&view, r));
    let [a, b] = verdicts.map(|v| v.expect("nobody has it"));
    world.finish(a, &requests[0]).expect("is the first");
    let error = world.finish(b, &requests[1]).expect_err("is the second");
    assert!(error.message.ends_with("provided IP is already allocated"));

    // Five addresses are left for six who all look at the same state.
    let view = world.view.clone();
    let any: Vec<Request> = (0..5)
        .map(|n| service(&format!("s{n}"), &of_type("ClusterIP")))
        .collect();
    let verdicts: Vec<_> = any.iter().map(|r| world.admit_on(&view, r)).collect();
    let outcomes: Vec<bool> = verdicts
        .into_iter()
        .zip(&any)
        .map(|(v, r)| world.finish(v.expect("there is room"), r).is_ok())
        .collect();
    // One of them is the API's.
    assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 4);
}

#[test]
fn a_lost_race_is_no_conflict_of_names() {
    let mut world = World::new("10.96.0.0/16");
    let asked = json!({"clusterIP": "10.96.0.3", "ports": [{"port": 80}]});
    let request = service("b", &asked);
    let view = world.view.clone();
    let Ok(Verdict::Commit(commit)) = world.admit_on(&view, &request) else {
        panic!("is admitted");
    };
    world.service("a", asked).expect("is made");
    assert_eq!(world.commit(commit), Completed::Retry);
}

#[test]
fn a_range_that_is_taken_away_meanwhile_gives_no_address() {
    let mut world = World::new("10.96.0.0/29");
    let range = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.200.0.0/24"]}});
    world
        .create("", Resource::SERVICE_CIDRS, range)
        .expect("is created");
    let request = service("a", &of_type("ClusterIP"));
    let view = world.view.clone();
    let verdict = world.admit_on(&view, &request).expect("there is room");
    let more = kabuki_model::ObjectKey::new(Resource::SERVICE_CIDRS, "", "more");
    world.delete(&more).expect("is marked");
    assert!(world.finish(verdict, &request).is_err());
}

/// One thing that somebody does to one of a few services.
fn step() -> impl Strategy<Value = Request> {
    let name = (0..12u8).prop_map(|n| format!("s{n}"));
    let types = prop_oneof![
        Just("ClusterIP"),
        Just("NodePort"),
        Just("LoadBalancer"),
        Just("ExternalName"),
    ];
    let address = prop::option::of(0..16u8);
    let port = prop::option::of(30000..30004i32);
    (name, types, address, port, any::<bool>(), 0..5u8).prop_map(
        |(name, service_type, address, port, local, verb)| {
            let mut spec = json!({"type": service_type, "ports": [{"port": 80}]});
            if let Some(port) = port {
                spec["ports"][0]["nodePort"] = port.into();
            }
            if service_type == "ExternalName" {
                spec["externalName"] = "a.example".into();
            }
            if local && service_type == "LoadBalancer" {
                spec["externalTrafficPolicy"] = "Local".into();
            }
            match verb {
                0 => Request::Delete {
                    key: key(&name),
                    options: DeleteOptions::default(),
                },
                1 | 2 => patch_of(&name, &json!({"spec": spec})),
                _ => {
                    if let Some(last) = address {
                        spec["clusterIP"] = format!("10.96.0.{last}").into();
                    }
                    service(&name, &spec)
                }
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Up to four writers decide on one state before the first of them is applied.
    #[test]
    fn no_address_or_port_has_two_holders(rounds in prop::collection::vec(prop::collection::vec(step(), 1..5), 1..25)) {
        let mut world = World::new("10.96.0.0/28");
        for round in &rounds {
            let view = world.view.clone();
            let decided: Vec<_> = round.iter().map(|r| world.admit_on(&view, r)).collect();
            for (verdict, request) in decided.into_iter().zip(round) {
                let outcome = verdict.and_then(|v| world.finish(v, request));
                if let Err(StatusError { message, .. }) = outcome {
                    prop_assert!(!message.is_empty());
                }
                for (value, who) in holders(&world.view) {
                    prop_assert!(who.len() == 1, "{value:?} is held by {who:?}");
                }
            }
        }
        for stored in world.view.scan(&Resource::SERVICES, None, None) {
            let typed = stored.typed::<Service>().expect("decodes");
            let addresses = held(&typed).into_iter().filter(|(i, _)| *i == Index::ServiceAddress);
            let spec = typed.spec.as_ref().expect("has one");
            let wanted = usize::from(spec.type_.as_deref() != Some("ExternalName"));
            prop_assert_eq!(addresses.count(), wanted);
        }
        // Nothing leaks: when all are gone, the whole range can be given out again.
        let all: Vec<_> = world.view.scan(&Resource::SERVICES, None, None).map(|s| s.key.clone()).collect();
        for key in all {
            world.delete(&key).expect("is deleted");
        }
        for n in 0..12 {
            let made = world.service(&format!("new{n}"), of_type("ClusterIP"));
            prop_assert!(made.is_ok(), "number {n}");
        }
    }
}
