//! What people write.

use crate::simulation::random::Random;
use serde_json::{Value, json};

pub(super) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(super) fn image(random: &mut Random) -> &'static str {
    random.pick::<&str>(&["web:1", "web:2", "web:3"])
}

pub(super) fn cpu(random: &mut Random) -> &'static str {
    random.pick::<&str>(&["100m", "100m", "200m", "400m"])
}

pub(super) fn container(image: &str, cpu: &str) -> Value {
    json!({"name": "main", "image": image, "resources": {"requests": {"cpu": cpu}}})
}

/// The names are few, so that people get in each other's way.
fn app(random: &mut Random) -> &'static str {
    random.pick::<&str>(&["web", "api"])
}

fn template(app: &str, random: &mut Random) -> Value {
    let grace = random.between(0, 4);
    let container = container(image(random), cpu(random));
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": grace},
    })
}

pub(super) fn strategy(random: &mut Random) -> Value {
    let rolling = |surge: Value, unavailable: Value| {
        json!({
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
        })
    };
    match random.below(5) {
        0 => json!({"type": "Recreate", "rollingUpdate": null}),
        1 => rolling(json!(1), json!(0)),
        2 => rolling(json!(0), json!(1)),
        3 => rolling(json!("50%"), json!("25%")),
        _ => rolling(json!(2), json!(2)),
    }
}

pub(super) fn deployment(random: &mut Random) -> Value {
    let app = app(random);
    let template = template(app, random);
    let min_ready = *random.pick(&[0, 0, 0, 2]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": app},
        "spec": {
            "replicas": random.between(0, 4), "minReadySeconds": min_ready,
            "selector": {"matchLabels": {"app": app}}, "strategy": strategy(random),
            "template": template,
        },
    })
}

pub(super) fn replica_set(random: &mut Random) -> Value {
    let template = template("bare", random);
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "bare"},
        "spec": {
            "replicas": random.between(0, 3),
            "selector": {"matchLabels": {"app": "bare"}}, "template": template,
        },
    })
}

/// A pod that a ReplicaSet takes in.
pub(super) fn stray(random: &mut Random) -> Value {
    pod_of(("stray", "Always", "bare"), random)
}

/// A pod without a controller: one that goes on, or one that ends.
pub(super) fn pod(random: &mut Random) -> Value {
    let kinds = [("single", "Always", "single"), ("job", "Never", "job")];
    let kind = *random.pick(&kinds);
    pod_of(kind, random)
}

fn pod_of((name, restart, label): (&str, &str, &str), random: &mut Random) -> Value {
    let mut pod = template(label, random);
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = format!("{name}-{}", random.below(3)).into();
    pod["spec"]["restartPolicy"] = restart.into();
    if random.chance(200) {
        pod["spec"]["tolerations"] = json!([{"key": "example.com/dry", "operator": "Exists"}]);
    }
    pod
}

pub(super) fn config(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("config-{name}")}, "data": {"key": "value"},
    })
}

pub(super) fn counter() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "counter"},
        "data": {"count": "0"},
    })
}

/// What admission must refuse.
pub(super) fn nonsense() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "nonsense"},
        "spec": {
            "replicas": -1, "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "b"}}, "spec": {"containers": []}},
        },
    })
}
