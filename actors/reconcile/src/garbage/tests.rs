use super::*;
use crate::world::World;
use serde_json::{Value, json};

fn world() -> World {
    World::new(vec![Box::new(GarbageCollector)])
}

fn object(name: &str, owners: &[(&str, &str, bool)]) -> Value {
    let owners: Vec<Value> = owners
        .iter()
        .map(|(name, uid, blocks)| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": blocks})
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "ownerReferences": owners},
    })
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::CONFIG_MAPS, "default", name)
}

fn options(propagation: Propagation) -> DeleteOptions {
    DeleteOptions {
        propagation: Some(propagation),
        ..DeleteOptions::default()
    }
}

fn names(world: &World) -> Vec<String> {
    let all = world.view().scan(&Resource::CONFIG_MAPS, None, None);
    all.map(|o| o.key.name.to_string()).collect()
}

/// `a` owns `b`, which owns `c`.
fn chain() -> World {
    let mut world = world();
    world.create(object("a", &[]));
    world.create(object("b", &[("a", "u1", true)]));
    world.create(object("c", &[("b", "u2", true)]));
    world.settle();
    assert_eq!(names(&world), ["a", "b", "c"]);
    world
}

#[test]
fn dependents_follow_their_owner_in_the_background() {
    let mut world = chain();
    world.delete(&key("a"), &options(Propagation::Background));
    assert_eq!(names(&world), ["b", "c"]);
    world.settle();
    assert!(names(&world).is_empty());
}

#[test]
fn dependents_go_before_their_owner_in_the_foreground() {
    let mut world = chain();
    world.delete(&key("a"), &options(Propagation::Foreground));
    let mut order = Vec::new();
    let mut before = names(&world);
    while world.step() {
        let now = names(&world);
        order.extend(before.iter().filter(|n| !now.contains(n)).cloned());
        before = now;
    }
    assert_eq!(order, ["c", "b", "a"]);
}

#[test]
fn orphans_stay_without_their_owner() {
    let mut world = chain();
    world.delete(&key("a"), &options(Propagation::Orphan));
    world.settle();
    assert_eq!(names(&world), ["b", "c"]);
    let owners = world
        .view()
        .get(&key("b"))
        .expect("kept")
        .meta()
        .owner_references
        .clone();
    assert!(owners.is_none_or(|o| o.is_empty()));
}

#[test]
fn an_object_whose_owner_never_was_goes() {
    let mut world = world();
    world.create(object("a", &[]));
    world.create(object("b", &[("a", "of-a-former-a", true)]));
    world.settle();
    assert_eq!(names(&world), ["a"]);
}

#[test]
fn an_object_with_another_owner_only_loses_the_one_that_is_gone() {
    let mut world = world();
    world.create(object("a", &[]));
    world.create(object("b", &[]));
    world.create(object("c", &[("a", "u1", false), ("b", "u2", false)]));
    world.settle();
    world.delete(&key("a"), &options(Propagation::Background));
    world.settle();
    assert_eq!(names(&world), ["b", "c"]);
    let owners = world
        .view()
        .get(&key("c"))
        .expect("kept")
        .meta()
        .owner_references
        .clone();
    let left: Vec<String> = owners.into_iter().flatten().map(|o| o.name).collect();
    assert_eq!(left, ["b"]);
}

#[test]
fn an_owner_of_an_unknown_kind_is_left_alone() {
    let mut world = world();
    let mut odd = object("a", &[("x", "u9", true)]);
    odd["metadata"]["ownerReferences"][0]["kind"] = "Widget".into();
    world.create(odd);
    world.settle();
    assert_eq!(names(&world), ["a"]);
}

#[test]
fn collection_converges_on_random_graphs() {
    // A small generator, so that the same graphs come each time.
    let mut state: u64 = 7;
    let mut draw = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..60 {
        let mut world = world();
        for index in 0..12u64 {
            let mut owners = Vec::new();
            for _ in 0..draw(3).min(index) {
                let owner = draw(index);
                owners.push((
                    format!("n{owner:02}"),
                    format!("u{}", owner + 1),
                    draw(2) == 0,
                ));
            }
            let owners: Vec<(&str, &str, bool)> = owners
                .iter()
                .map(|(n, u, b)| (n.as_str(), u.as_str(), *b))
                .collect();
            world.create(object(&format!("n{index:02}"), &owners));
        }
        world.settle();
        let policies = [
            Propagation::Background,
            Propagation::Foreground,
            Propagation::Orphan,
        ];
        for _ in 0..4 {
            let policy = policies[draw(3) as usize];
            let name = format!("n{:02}", draw(12));
            world.delete(&key(&name), &options(policy));
            world.settle();
        }
        for object in world.view().scan(&Resource::CONFIG_MAPS, None, None) {
            assert!(
                object.meta().deletion_timestamp.is_none(),
                "{object:?} is stuck"
            );
            for owner in object.meta().owner_references.iter().flatten() {
                let owner = world
                    .view()
                    .get(&key(&owner.name))
                    .expect("no owner is gone");
                assert!(owner.meta().deletion_timestamp.is_none());
            }
        }
    }
}

/// Changes that the watch does not tell, because it was lost.
fn unseen(world: &mut World, change: impl FnOnce(&mut World)) {
    world.settle();
    change(world);
    world.forget_changes();
}

#[test]
fn an_owner_that_came_and_went_unseen_is_found_out_after_the_next_list() {
    let mut world = world();
    world.create(object("a", &[]));
    unseen(&mut world, |world| {
        world.create(object("b", &[("a", "u1", false), ("gone", "u9", false)]));
        world.create(object("c", &[("gone", "u9", false)]));
        world.create(object("free", &[]));
    });
    world.settle();
    assert_eq!(names(&world), ["a", "b", "c", "free"]);
    let core = GarbageCollector;
    assert!(core.relisted(world.view(), &Resource::PODS).is_empty());
    let keys = core.relisted(world.view(), &Resource::CONFIG_MAPS);
    assert_eq!(keys, [key("b"), key("c")]);
    world.relisted(&Resource::CONFIG_MAPS);
    world.settle();
    assert_eq!(names(&world), ["a", "b", "free"]);
    assert!(
        core.relisted(world.view(), &Resource::CONFIG_MAPS)
            .is_empty()
    );
}

#[test]
fn an_owner_whose_last_dependent_went_unseen_is_let_go_after_the_next_list() {
    let mut world = world();
    world.create(object("a", &[]));
    let mut dependent = object("b", &[("a", "u1", true)]);
    dependent["metadata"]["finalizers"] = json!(["example.com/keep"]);
    world.create(dependent);
    world.delete(&key("a"), &options(Propagation::Foreground));
    unseen(&mut world, |world| {
        world.change(&key("b"), |b| b["metadata"]["finalizers"] = json!([]));
    });
    world.settle();
    assert_eq!(names(&world), ["a"]);
    world.relisted(&Resource::CONFIG_MAPS);
    world.settle();
    assert!(names(&world).is_empty());
}
