use super::*;
use crate::replicaset::ReplicaSets;
use crate::world::World;
use jiff::SignedDuration;
use kabuki_model::k8s_openapi::api::apps::v1::{DeploymentStatus, ReplicaSet};
use kabuki_model::status::Reason;
use serde_json::{Value, json};
use std::sync::Arc;

mod bounds;

fn world() -> World {
    World::new(vec![Box::new(Deployments), Box::new(ReplicaSets)])
}

fn deployment(replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "annotations": {"team": "shop"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

fn set_image(world: &mut World, key: &ObjectKey, image: &str) {
    world.change(key, |d| {
        d["spec"]["template"]["spec"]["containers"][0]["image"] = image.into()
    });
}

fn stored(world: &World, resource: &Resource) -> Vec<Arc<Stored>> {
    world.view().scan(resource, None, None).cloned().collect()
}

/// What the node does: makes every pod ready that is not, and ends those that are marked. Says
/// whether there was anything to do.
fn run_nodes(world: &mut World) -> bool {
    let mut worked = false;
    for object in stored(world, &Resource::PODS) {
        worked |= run_pod(world, &object);
    }
    world.settle();
    worked
}

fn run_pod(world: &mut World, object: &Stored) -> bool {
    let pod: Arc<Pod> = object.typed().expect("a pod");
    let now = world.now().to_string();
    if pod.metadata.deletion_timestamp.is_some() {
        world.remove(&object.key);
        return true;
    }
    if pods::is_ready(&pod) {
        return false;
    }
    world.change(&object.key, |pod| {
        pod["spec"]["nodeName"] = "a".into();
        pod["status"] = json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": now},
        ]});
    });
    true
}

fn run_to_end(world: &mut World) {
    world.settle();
    while run_nodes(world) {}
}

fn status(world: &World, key: &ObjectKey) -> DeploymentStatus {
    world
        .get::<Deployment>(key)
        .status
        .clone()
        .expect("written")
}

fn condition(world: &World, key: &ObjectKey, kind: &str) -> (String, String, String) {
    let status = status(world, key);
    let found = status::find(&status, kind).expect("set").clone();
    (
        found.status.unwrap_or_default(),
        found.reason.unwrap_or_default(),
        found.message.unwrap_or_default(),
    )
}

/// The ReplicaSets by revision: revision, wanted pods, image.
fn sets(world: &World) -> Vec<(String, i32, String)> {
    let mut sets: Vec<(String, i32, String)> = stored(world, &Resource::REPLICA_SETS)
        .iter()
        .map(|s| {
            let set: Arc<ReplicaSet> = s.typed().expect("a set");
            let annotations = set.metadata.annotations.clone().unwrap_or_default();
            let pod = set
                .spec
                .template
                .clone()
                .and_then(|t| t.spec)
                .expect("a template");
            let image = pod.containers[0].image.clone().unwrap_or_default();
            (
                annotations[revision::REVISION].clone(),
                set.spec.replicas.unwrap_or(0),
                image,
            )
        })
        .collect();
    sets.sort();
    sets
}

fn shown(sets: &[(String, i32, String)]) -> Vec<(&str, i32, &str)> {
    sets.iter()
        .map(|(r, n, i)| (r.as_str(), *n, i.as_str()))
        .collect()
}

#[test]
fn a_new_deployment_makes_a_replica_set_and_says_how_far_it_is() {
    let mut world = world();
    let key = world.create(deployment(3, "v1"));
    world.settle();
    assert_eq!(shown(&sets(&world)), [("1", 3, "v1")]);
    let set = stored(&world, &Resource::REPLICA_SETS)[0].clone();
    let annotations = set.meta().annotations.clone().expect("annotated");
    assert_eq!(
        annotations["deployment.kubernetes.io/desired-replicas"],
        "3"
    );
    assert_eq!(annotations["deployment.kubernetes.io/max-replicas"], "4");
    assert_eq!(annotations["team"], "shop");
    let hash = &set.meta().labels.as_ref().expect("labelled")["pod-template-hash"];
    assert_eq!(*set.key.name, format!("web-{hash}"));
    assert_eq!(
        condition(&world, &key, "Available").1,
        "MinimumReplicasUnavailable"
    );
    assert_eq!(status(&world, &key).unavailable_replicas, Some(3));
    run_to_end(&mut world);
    let name = &set.key.name;
    let done = (
        "True".into(),
        "NewReplicaSetAvailable".into(),
        format!("ReplicaSet \"{name}\" has successfully progressed."),
    );
    assert_eq!(condition(&world, &key, "Progressing"), done);
    assert_eq!(
        condition(&world, &key, "Available").1,
        "MinimumReplicasAvailable"
    );
    let status = status(&world, &key);
    assert_eq!(
        (
            status.replicas,
            status.available_replicas,
            status.unavailable_replicas
        ),
        (Some(3), Some(3), Some(0))
    );
    assert_eq!(status.observed_generation, Some(1));
    let annotations = world
        .get::<Deployment>(&key)
        .metadata
        .annotations
        .clone()
        .expect("annotated");
    assert_eq!(annotations[revision::REVISION], "1");
    assert_eq!(
        world.messages("ScalingReplicaSet"),
        [format!("Scaled up replica set {name} from 0 to 3")]
    );
    assert_eq!(
        Deployments.reconcile(world.view(), &key, world.now()),
        Outcome::done()
    );
}

#[test]
fn another_template_rolls_and_the_former_one_rolls_back_to_a_new_revision() {
    let mut world = world();
    let key = world.create(deployment(4, "v1"));
    run_to_end(&mut world);
    set_image(&mut world, &key, "v2");
    run_to_end(&mut world);
    assert_eq!(shown(&sets(&world)), [("1", 0, "v1"), ("2", 4, "v2")]);
    set_image(&mut world, &key, "v1");
    run_to_end(&mut world);
    assert_eq!(shown(&sets(&world)), [("2", 0, "v2"), ("3", 4, "v1")]);
    let back = stored(&world, &Resource::REPLICA_SETS)
        .into_iter()
        .find_map(|s| {
            s.meta()
                .annotations
                .clone()?
                .get("deployment.kubernetes.io/revision-history")
                .cloned()
        });
    assert_eq!(back.as_deref(), Some("1"));
}

#[test]
fn recreate_waits_until_every_old_pod_is_gone() {
    let mut world = world();
    let mut object = deployment(2, "v1");
    object["spec"]["strategy"] = json!({"type": "Recreate"});
    let key = world.create(object);
    run_to_end(&mut world);
    set_image(&mut world, &key, "v2");
    world.settle();
    // The old pods end slowly: none of the new may be there yet.
    assert_eq!(shown(&sets(&world)), [("1", 0, "v1")]);
    assert_eq!(stored(&world, &Resource::PODS).len(), 2);
    run_to_end(&mut world);
    assert_eq!(shown(&sets(&world)), [("1", 0, "v1"), ("2", 2, "v2")]);
    assert_eq!(
        condition(&world, &key, "Progressing").1,
        "NewReplicaSetAvailable"
    );
}

#[test]
fn recreate_takes_over_a_rollout_that_was_under_way_although_it_is_scaled() {
    let mut world = world();
    let key = world.create(deployment(4, "v1"));
    run_to_end(&mut world);
    set_image(&mut world, &key, "v2");
    world.settle();
    let with_pods = sets(&world).iter().filter(|s| s.1 > 0).count();
    assert_eq!(with_pods, 2, "the rollout is under way");
    world.change(&key, |d| {
        d["spec"]["strategy"] = json!({"type": "Recreate"});
        d["spec"]["replicas"] = 2.into();
    });
    run_to_end(&mut world);
    assert_eq!(shown(&sets(&world)), [("1", 0, "v1"), ("2", 2, "v2")]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = world();
    let key = world.create(deployment(2, "v1"));
    run_to_end(&mut world);
    world.change(&key, |d| d["spec"]["paused"] = true.into());
    set_image(&mut world, &key, "v2");
    world.change(&key, |d| d["spec"]["replicas"] = 3.into());
    run_to_end(&mut world);
    assert_eq!(shown(&sets(&world)), [("1", 3, "v1")]);
    assert_eq!(condition(&world, &key, "Progressing").1, "DeploymentPaused");
    world.change(&key, |d| d["spec"]["paused"] = false.into());
    run_to_end(&mut world);
    assert_eq!(shown(&sets(&world)), [("1", 0, "v1"), ("2", 3, "v2")]);
    assert_eq!(
        condition(&world, &key, "Progressing").1,
        "NewReplicaSetAvailable"
    );
}

#[test]
fn a_rollout_that_does_not_move_is_called_stuck_after_its_deadline() {
    let mut world = world();
    let key = world.create(deployment(2, "v1"));
    world.settle();
    world.advance(SignedDuration::from_secs(599));
    assert_eq!(condition(&world, &key, "Progressing").0, "True");
    world.advance(SignedDuration::from_secs(2));
    let stuck = condition(&world, &key, "Progressing");
    assert_eq!(
        (stuck.0.as_str(), stuck.1.as_str()),
        ("False", "ProgressDeadlineExceeded")
    );
    run_to_end(&mut world);
    assert_eq!(
        condition(&world, &key, "Progressing").1,
        "NewReplicaSetAvailable"
    );
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_shared_out() {
    let mut world = world();
    let mut object = deployment(10, "v1");
    object["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 3, "maxUnavailable": 2});
    let key = world.create(object);
    run_to_end(&mut world);
    set_image(&mut world, &key, "broken");
    world.settle();
    for object in stored(&world, &Resource::PODS) {
        if object.meta().deletion_timestamp.is_some() {
            world.remove(&object.key);
        }
    }
    world.settle();
    assert_eq!(shown(&sets(&world)), [("1", 8, "v1"), ("2", 5, "broken")]);
    world.change(&key, |d| d["spec"]["replicas"] = 15.into());
    world.settle();
    // The documentation's example: 15 wanted, 18 allowed, in proportion 11 and 7.
    assert_eq!(shown(&sets(&world)), [("1", 11, "v1"), ("2", 7, "broken")]);
}

#[test]
fn old_replica_sets_beyond_the_limit_go() {
    let mut world = world();
    let mut object = deployment(1, "v1");
    object["spec"]["revisionHistoryLimit"] = 1.into();
    let key = world.create(object);
    run_to_end(&mut world);
    for image in ["v2", "v3", "v4"] {
        set_image(&mut world, &key, image);
        run_to_end(&mut world);
    }
    assert_eq!(shown(&sets(&world)), [("3", 0, "v3"), ("4", 1, "v4")]);
}

#[test]
fn a_name_that_is_taken_counts_as_a_collision() {
    let mut world = world();
    let object = deployment(1, "v1");
    let typed: Deployment = serde_json::from_value(object.clone()).expect("a deployment");
    let hash = kabuki_model::hash::pod_template_hash(&typed.spec.template, None);
    world.create(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("web-{hash}"), "namespace": "default"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}},
    }));
    let key = world.create(object);
    run_to_end(&mut world);
    assert_eq!(status(&world, &key).collision_count, Some(1));
    assert_eq!(status(&world, &key).available_replicas, Some(1));
}

#[test]
fn a_replica_sets_failure_shows_on_the_deployment() {
    let mut world = world();
    world.refuse = Box::new(|request| {
        let pod =
            matches!(request, Request::Create { resource, .. } if *resource == Resource::PODS);
        pod.then(|| StatusError::new(Reason::Forbidden, "exceeded quota"))
    });
    let key = world.create(deployment(1, "v1"));
    world.settle();
    let failure = condition(&world, &key, "ReplicaFailure");
    assert_eq!(
        failure,
        (
            "True".into(),
            "FailedCreate".into(),
            "exceeded quota".into()
        )
    );
    world.refuse = Box::new(|_| None);
    world.advance(SignedDuration::from_secs(1));
    run_to_end(&mut world);
    assert!(status::find(&status(&world, &key), "ReplicaFailure").is_none());
}

#[test]
fn a_replica_set_that_cannot_be_created_is_told_of() {
    let mut world = world();
    world.refuse = Box::new(|request| {
        let set = matches!(request, Request::Create { resource, .. } if *resource == Resource::REPLICA_SETS);
        set.then(|| StatusError::new(Reason::Forbidden, "exceeded quota"))
    });
    let key = world.create(deployment(1, "v1"));
    world.settle();
    let told = condition(&world, &key, "Progressing");
    assert_eq!(
        (told.0.as_str(), told.1.as_str()),
        ("False", "ReplicaSetCreateError")
    );
    assert!(
        told.2
            .starts_with("Failed to create new replica set \"web-"),
        "{}",
        told.2
    );
    world.refuse = Box::new(|_| None);
    world.advance(SignedDuration::from_secs(1));
    run_to_end(&mut world);
    assert_eq!(
        condition(&world, &key, "Progressing").1,
        "NewReplicaSetAvailable"
    );
}
