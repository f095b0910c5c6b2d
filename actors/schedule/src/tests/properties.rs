//! What must hold of every plan, on random clusters and pods.

use super::*;
use std::collections::BTreeMap;

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

fn random_nodes(draw: &mut Draw) -> Vec<Arc<Stored>> {
    (0..1 + draw.below(6))
        .map(|index| {
            let taints: Vec<Value> = ["NoSchedule", "PreferNoSchedule"]
                .iter()
                .filter(|_| draw.below(4) == 0)
                .map(|effect| json!({"key": "k", "effect": effect}))
                .collect();
            let labels = json!({"zone": format!("z{}", draw.below(2))});
            let size = json!({
                "cpu": format!("{}", 1 + draw.below(4)),
                "memory": format!("{}Gi", 1 + draw.below(4)),
                "pods": format!("{}", 2 + draw.below(8)),
            });
            node_with(
                &format!("n{index}"),
                json!({"taints": taints}),
                labels,
                size,
            )
        })
        .collect()
}

fn random_pods(draw: &mut Draw) -> Vec<Arc<Pending>> {
    (0..draw.below(30))
        .map(|index| {
            let requests = match draw.below(4) {
                0 => json!({}),
                1 => json!({"cpu": "500m"}),
                2 => json!({"cpu": "250m", "memory": "512Mi"}),
                _ => json!({"memory": "1Gi"}),
            };
            let spec = match draw.below(4) {
                0 => json!({"nodeSelector": {"zone": "z0"}}),
                1 => json!({"tolerations": [{"operator": "Exists"}]}),
                2 => json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 5, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["z1"]}]}},
                ]}}}),
                _ => json!({}),
            };
            pod_with(&format!("p{index:02}"), requests, spec)
        })
        .collect()
}

fn outcomes(decisions: &[Decision]) -> Vec<String> {
    let show = |d: &Decision| match &d.outcome {
        Ok(node) => node.to_string(),
        Err(failure) => failure.message.clone(),
    };
    decisions.iter().map(show).collect()
}

#[test]
fn a_batch_is_placed_as_its_pods_would_be_one_by_one() {
    for seed in 0..300 {
        let mut draw = Draw(seed);
        let (nodes, pods) = (random_nodes(&mut draw), random_pods(&mut draw));
        let batch = outcomes(&plan(&mut cluster(&nodes), &pods, seed));
        let mut single = cluster(&nodes);
        let mut one_by_one = Vec::new();
        for pod in &pods {
            single.forget_candidates();
            one_by_one.extend(outcomes(&plan(
                &mut single,
                std::slice::from_ref(pod),
                seed,
            )));
        }
        assert_eq!(batch, one_by_one, "seed {seed}");
    }
}

#[test]
fn no_node_is_ever_given_more_than_it_has() {
    for seed in 0..200 {
        let mut draw = Draw(seed);
        let (nodes, pods) = (random_nodes(&mut draw), random_pods(&mut draw));
        let mut cluster = cluster(&nodes);
        let mut on: BTreeMap<String, Amounts> = BTreeMap::new();
        let mut living: Vec<(Arc<Pending>, String)> = Vec::new();
        for pod in &pods {
            // Some go while others come.
            if !living.is_empty() && draw.below(3) == 0 {
                let (gone, node) = living.swap_remove(draw.below(living.len()));
                cluster.forget(&gone.uid);
                on.entry(node).or_default().subtract(&gone.class.requests);
            }
            let decision = plan(&mut cluster, std::slice::from_ref(pod), seed).remove(0);
            if let Ok(node) = decision.outcome {
                on.entry(node.to_string())
                    .or_default()
                    .add(&pod.class.requests);
                living.push((pod.clone(), node.to_string()));
            }
            for node in cluster.nodes() {
                let (have, used) = (
                    &node.allocatable,
                    on.get(&*node.name).cloned().unwrap_or_default(),
                );
                assert!(used.cpu_milli <= have.cpu_milli, "seed {seed}");
                assert!(used.memory <= have.memory, "seed {seed}");
                assert!(used.pods <= have.pods, "seed {seed}");
            }
        }
    }
}

#[test]
fn the_same_arguments_give_the_same_plan() {
    let mut draw = Draw(3);
    let (nodes, pods) = (random_nodes(&mut draw), random_pods(&mut draw));
    let first = outcomes(&plan(&mut cluster(&nodes), &pods, 11));
    assert_eq!(first, outcomes(&plan(&mut cluster(&nodes), &pods, 11)));
}

#[test]
fn many_pods_of_one_class_are_placed_on_many_nodes_in_a_moment() {
    let nodes: Vec<Arc<Stored>> = (0..500)
        .map(|i| node(&format!("n{i}"), json!({})))
        .collect();
    let pods: Vec<Arc<Pending>> = (0..5000)
        .map(|i| pod(&format!("p{i}"), json!({"cpu": "100m"})))
        .collect();
    let decisions = plan(&mut cluster(&nodes), &pods, 1);
    let mut on: BTreeMap<String, usize> = BTreeMap::new();
    for node in outcomes(&decisions) {
        *on.entry(node).or_default() += 1;
    }
    assert_eq!(on.len(), 500);
    assert!(
        on.values().all(|n| *n == 10),
        "equal nodes get equal shares"
    );
}
