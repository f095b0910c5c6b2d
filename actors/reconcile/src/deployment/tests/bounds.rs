//! A rolling update stays within its bounds whatever the order of events.

use super::*;

struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("fits") % bound
    }
}

fn check(world: &World, most: i32, least: i32, seed: u64) {
    let (mut active, mut available) = (0, 0);
    for object in stored(world, &Resource::PODS) {
        let pod: Arc<Pod> = object.typed().expect("a pod");
        active += i32::from(pods::is_active(&pod));
        available += i32::from(pods::is_active(&pod) && pods::is_ready(&pod));
    }
    assert!(active <= most, "seed {seed}: {active} pods, at most {most}");
    assert!(
        available >= least,
        "seed {seed}: {available} available, at least {least}"
    );
}

#[test]
fn a_rolling_update_never_leaves_its_bounds() {
    let texts = [
        json!(0),
        json!(1),
        json!(3),
        json!("25%"),
        json!("50%"),
        json!("100%"),
    ];
    for seed in 0..60 {
        let mut draw = Draw(seed);
        let replicas = 1 + i32::try_from(draw.below(9)).expect("small");
        let surge = texts[draw.below(texts.len())].clone();
        let unavailable = texts[draw.below(texts.len())].clone();
        let mut object = deployment(replicas, "v1");
        object["spec"]["strategy"]["rollingUpdate"] =
            json!({"maxSurge": surge, "maxUnavailable": unavailable});
        let typed: Deployment = serde_json::from_value(object.clone()).expect("a deployment");
        let bounds = kabuki_model::percent::rolling_bounds(&typed);
        let mut world = world();
        let key = world.create(object);
        run_to_end(&mut world);
        set_image(&mut world, &key, "v2");
        let mut changes = 0;
        loop {
            check(
                &world,
                replicas + bounds.surge,
                replicas - bounds.unavailable,
                seed,
            );
            // Controllers and nodes take turns at random, so that statuses lag behind.
            if draw.below(3) > 0 && world.step() {
                continue;
            }
            let pods = stored(&world, &Resource::PODS);
            let start = draw.below(pods.len().max(1));
            let order = pods.iter().cycle().skip(start).take(pods.len());
            let moved = order.clone().any(|pod| run_pod(&mut world, pod));
            if !moved && !world.step() {
                break;
            }
            changes += 1;
            assert!(changes < 2000, "seed {seed}: never ends");
            if changes == 5 && draw.below(2) == 0 {
                set_image(&mut world, &key, "v3");
            }
        }
        assert_eq!(
            condition(&world, &key, "Progressing").1,
            "NewReplicaSetAvailable",
            "seed {seed}"
        );
        assert_eq!(
            status(&world, &key).updated_replicas,
            Some(replicas),
            "seed {seed}"
        );
    }
}
