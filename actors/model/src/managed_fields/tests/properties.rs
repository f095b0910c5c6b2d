//! What holds of any configurations.

use super::super::collect::fields_of_stored;
use super::super::compare::compare;
use super::super::merge::merge;
use super::super::shape::Shape;
use super::*;
use proptest::prelude::*;

fn config() -> impl Strategy<Value = Value> {
    let container = (
        0..4_u8,
        0..3_u8,
        prop::collection::btree_map("[a-c]", 0..3_u8, 0..3),
    );
    let containers = prop::collection::vec(container, 0..4);
    (
        prop::option::of(0..3_i64),
        containers,
        prop::collection::btree_map("[a-d]", 0..3_u8, 0..4),
        any::<bool>(),
    )
        .prop_map(|(replicas, containers, labels, paused)| {
            let mut seen = Vec::new();
            let containers: Vec<Value> = containers
                .into_iter()
                .filter(|(name, ..)| {
                    !seen.contains(name) && {
                        seen.push(*name);
                        true
                    }
                })
                .map(|(name, image, env)| {
                    let env: Vec<Value> = env
                        .into_iter()
                        .map(|(n, v)| json!({"name": n, "value": v.to_string()}))
                        .collect();
                    let mut container =
                        json!({"name": format!("c{name}"), "image": format!("i{image}")});
                    if !env.is_empty() {
                        container["env"] = env.into();
                    }
                    container
                })
                .collect();
            let mut config =
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
            let labels: serde_json::Map<String, Value> = labels
                .into_iter()
                .map(|(k, v)| (k, v.to_string().into()))
                .collect();
            if !labels.is_empty() {
                config["metadata"]["labels"] = labels.into();
            }
            if let Some(replicas) = replicas {
                config["spec"]["replicas"] = replicas.into();
            }
            if paused {
                config["spec"]["paused"] = true.into();
            }
            if !containers.is_empty() {
                config["spec"]["template"]["spec"]["containers"] = containers.into();
            }
            config
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What is applied is there; applied again, it changes nothing.
    #[test]
    fn applying_twice_is_applying_once(configs in prop::collection::vec((0..3_u8, config()), 1..6)) {
        let (mut live, mut held) = (Value::Null, Vec::new());
        for (manager, config) in &configs {
            let manager = format!("m{manager}");
            applied(&manager, &mut live, &mut held, config, true).expect("forced");
            let before = (live.clone(), held.clone());
            prop_assert_eq!(applied(&manager, &mut live, &mut held, config, false), Ok(false));
            prop_assert_eq!(&(live.clone(), held.clone()), &before);
            // All that was applied is in the object, and all that is owned too.
            let merged = merge(&live, config, Shape::Struct(writer("").message)).expect("fits");
            prop_assert_eq!(&merged, &live);
        }
    }

    /// One applier alone owns an object that is exactly what it applied last.
    #[test]
    fn what_one_applier_leaves_out_is_gone(first in config(), second in config()) {
        let (mut live, mut held) = (Value::Null, Vec::new());
        applied("a", &mut live, &mut held, &first, false).expect("alone");
        applied("a", &mut live, &mut held, &second, false).expect("alone");
        let (mut other, mut others) = (Value::Null, Vec::new());
        applied("a", &mut other, &mut others, &second, false).expect("alone");
        prop_assert_eq!(compare(Some(&live), Some(&other), Shape::Struct(writer("").message)).set().paths(), Vec::<String>::new());
        let fields = |e: &[Entry]| e.iter().map(|e| e.fields.clone()).collect::<Vec<_>>();
        prop_assert_eq!(fields(&held), fields(&others));
    }

    /// Ordinary writes: every field that differs belongs to the writer afterwards, and to nobody else.
    #[test]
    fn a_write_owns_its_changes(first in config(), second in config()) {
        let held = update(&writer("a"), &json!({}), &first, Vec::new());
        let held = update(&writer("b"), &first, &second, held);
        let changed = compare(Some(&first), Some(&second), Shape::Struct(writer("").message));
        for entry in &held {
            let overlap = entry.fields.intersection(&changed.set());
            prop_assert!(entry.manager == "b" || overlap.is_empty());
            prop_assert!(entry.fields.intersection(&changed.removed).is_empty());
        }
    }

    #[test]
    fn sets_obey_their_laws(a in config(), b in config()) {
        let shape = Shape::Struct(writer("").message);
        let (a, b) = (fields_of_stored(&a, shape), fields_of_stored(&b, shape));
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert_eq!(a.clone().union(&b), b.clone().union(&a));
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        let (mut less, mut more) = (a.clone(), a.clone());
        less.subtract(&b);
        more.absorb(b.clone());
        prop_assert_eq!((less, more), (a.difference(&b), a.clone().union(&b)));
        let written = serde_json::to_vec(&a).expect("written");
        prop_assert_eq!(&serde_json::from_slice::<FieldSet>(&written).expect("read"), &a);
    }
}
