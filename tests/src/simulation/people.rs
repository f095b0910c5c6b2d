//! What users do: they create, change and delete everything, in whatever order, with each other's
//! work in their way.

mod manifests;

use super::calls::{Caller, Outcome};
use super::random::Random;
use super::world::{Happening, World};
use kabuki_model::identity::{GROUP_MASTERS, Identity};
use kabuki_model::request::{
    DeleteOptions, ListRequest, PatchType, Propagation, Request, Subresource, WriteOptions,
};
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAMESPACES: [&str; 3] = ["default", "shop", "blog"];
/// A finalizer that only people take away.
pub(super) const HOLD: &str = "example.com/hold";
/// A node that takes whatever is left when everything is well again.
const SPARE: &str = "node-spare";
const COUNTER: &str = "counter";

pub(super) struct People {
    pub first_nodes: usize,
    /// The usual time between two acts.
    pace_ms: u64,
    counts: [Option<Count>; 2],
    pub is_content: bool,
}

/// What a writer has read and will write.
struct Count {
    read: Arc<Stored>,
}

impl People {
    pub fn new(random: &mut Random) -> Self {
        Self {
            first_nodes: 1 + random.below(3),
            pace_ms: random.between(150, 900),
            counts: [None, None],
            is_content: false,
        }
    }
}

fn admin() -> Identity {
    Identity::new("ann", [GROUP_MASTERS.to_string()])
}

impl World {
    pub fn begin_people(&mut self) {
        for name in NAMESPACES {
            self.create(Resource::NAMESPACES, "", &manifests::namespace(name));
        }
        self.after(Duration::from_millis(300), Happening::Act);
        for writer in 0..2 {
            self.after(Duration::from_millis(500), Happening::Count { writer });
        }
    }

    /// Somebody does something.
    pub fn act(&mut self) {
        if !self.faults.active {
            return;
        }
        let namespace = *self.random.pick(&NAMESPACES);
        match self.random.below(34) {
            0..=5 => self.create_deployment(namespace),
            6..=9 => self.scale_something(),
            10..=13 => self.change_image(),
            14 | 15 => self.change_deployment(),
            16 => self.create_set(namespace),
            17 | 18 => self.create_pod(namespace),
            19..=21 => self.delete_some(&Resource::DEPLOYMENTS),
            22 | 23 => self.delete_some(&Resource::PODS),
            24 => self.delete_some(&Resource::REPLICA_SETS),
            25 => self.delete_namespace(),
            26 => {
                let name = *self.random.pick(&NAMESPACES);
                self.create(Resource::NAMESPACES, "", &manifests::namespace(name));
            }
            27 => self.hold_something(),
            28 => self.release_pod(),
            29 => self.trouble_node(),
            30 => self.change_nodes(),
            31 => self.create(Resource::DEPLOYMENTS, namespace, &manifests::nonsense()),
            32 => self.replace_deployment(),
            _ => self.create(
                Resource::CONFIG_MAPS,
                namespace,
                &manifests::config(namespace),
            ),
        }
        let delay = self.random.millis(20, self.people.pace_ms * 2);
        self.after(delay, Happening::Act);
    }

    fn ask(&mut self, request: Request) {
        self.call_remote(Caller::Nobody, admin(), request);
    }

    fn create(&mut self, resource: Resource, namespace: &str, object: &Value) {
        self.ask(Request::Create {
            resource,
            namespace: namespace.into(),
            object: object.to_string().into(),
            options: WriteOptions::default(),
        });
    }

    fn patch(&mut self, key: &ObjectKey, patch: &Value) {
        self.ask(Request::Patch {
            key: key.clone(),
            subresource: None,
            patch_type: PatchType::Merge,
            patch: patch.to_string().into(),
            options: WriteOptions::default(),
        });
    }

    /// Some object, as somebody may have seen it.
    fn some(&mut self, resource: &Resource) -> Option<Arc<Stored>> {
        let all: Vec<Arc<Stored>> = self.audit.of(resource).cloned().collect();
        (!all.is_empty()).then(|| self.random.pick(&all).clone())
    }

    fn create_deployment(&mut self, namespace: &str) {
        let object = manifests::deployment(&mut self.random);
        self.create(Resource::DEPLOYMENTS, namespace, &object);
    }

    fn create_set(&mut self, namespace: &str) {
        // Often there is a pod already that it is to take in.
        for _ in 0..self.random.below(3) {
            let stray = manifests::stray(&mut self.random);
            self.create(Resource::PODS, namespace, &stray);
        }
        let object = manifests::replica_set(&mut self.random);
        self.create(Resource::REPLICA_SETS, namespace, &object);
    }

    fn create_pod(&mut self, namespace: &str) {
        let object = manifests::pod(&mut self.random);
        self.create(Resource::PODS, namespace, &object);
    }

    fn scale_something(&mut self) {
        let Some(deployment) = self.some(&Resource::DEPLOYMENTS) else {
            return;
        };
        let replicas = self.random.between(0, 5);
        let scale = json!({"spec": {"replicas": replicas}});
        self.ask(Request::Update {
            key: deployment.key.clone(),
            subresource: Some(Subresource::Scale),
            object: scale.to_string().into(),
            options: WriteOptions::default(),
        });
    }

    /// A new template, or an old one again, which is what undoing a rollout does.
    fn change_image(&mut self) {
        let Some(deployment) = self.some(&Resource::DEPLOYMENTS) else {
            return;
        };
        let image = manifests::image(&mut self.random);
        let cpu = manifests::cpu(&mut self.random);
        let container = manifests::container(image, cpu);
        let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        self.patch(&deployment.key, &patch);
    }

    fn change_deployment(&mut self) {
        let Some(deployment) = self.some(&Resource::DEPLOYMENTS) else {
            return;
        };
        let patch = match self.random.below(4) {
            0 => json!({"spec": {"paused": true}}),
            1 => json!({"spec": {"paused": null}}),
            2 => json!({"spec": {"strategy": manifests::strategy(&mut self.random)}}),
            _ => json!({"spec": {"revisionHistoryLimit": self.random.below(3)}}),
        };
        self.patch(&deployment.key, &patch);
    }

    /// Deletes a Deployment and makes another of its name at once.
    fn replace_deployment(&mut self) {
        let Some(deployment) = self.some(&Resource::DEPLOYMENTS) else {
            return;
        };
        self.delete(&deployment.key, DeleteOptions::default());
        let mut object = manifests::deployment(&mut self.random);
        object["metadata"]["name"] = deployment.key.name.to_string().into();
        self.create(Resource::DEPLOYMENTS, &deployment.key.namespace, &object);
    }

    fn delete_some(&mut self, resource: &Resource) {
        let Some(object) = self.some(resource) else {
            return;
        };
        if self.random.chance(60) {
            let namespace = Some(&*object.key.namespace);
            return self.ask(Request::DeleteCollection {
                selection: ListRequest::all(resource.clone(), namespace),
                options: DeleteOptions::default(),
            });
        }
        let policies = [
            None,
            None,
            Some(Propagation::Background),
            Some(Propagation::Foreground),
            Some(Propagation::Orphan),
        ];
        let grace = [None, None, None, Some(0), Some(1)];
        let options = DeleteOptions {
            propagation: *self.random.pick(&policies),
            grace_period_s: *self.random.pick(&grace),
            ..DeleteOptions::default()
        };
        self.delete(&object.key, options);
    }

    fn delete(&mut self, key: &ObjectKey, options: DeleteOptions) {
        self.ask(Request::Delete {
            key: key.clone(),
            options,
        });
    }

    /// Deletes a namespace while somebody is still putting things into it.
    fn delete_namespace(&mut self) {
        let name = *self.random.pick(&NAMESPACES);
        let key = ObjectKey::new(Resource::NAMESPACES, "", name);
        for part in 0..3 {
            if part == 1 {
                self.delete(&key, DeleteOptions::default());
            }
            self.create_pod(name);
            self.create(Resource::CONFIG_MAPS, name, &manifests::config(name));
        }
    }

    fn hold_something(&mut self) {
        let kinds = [Resource::PODS, Resource::DEPLOYMENTS, Resource::CONFIG_MAPS];
        let resource = self.random.pick(&kinds).clone();
        if let Some(object) = self.some(&resource) {
            self.patch(&object.key, &json!({"metadata": {"finalizers": [HOLD]}}));
        }
    }

    /// Takes a pod out of its controller's selection.
    fn release_pod(&mut self) {
        if let Some(pod) = self.some(&Resource::PODS) {
            self.patch(&pod.key, &json!({"metadata": {"labels": {"app": "none"}}}));
        }
    }

    fn trouble_node(&mut self) {
        let Some(node) = self.some(&Resource::NODES) else {
            return;
        };
        let patch = match self.random.below(4) {
            0 => json!({"spec": {"unschedulable": true}}),
            1 => json!({"spec": {"unschedulable": null, "taints": null}}),
            _ => json!({"spec": {"taints": [{"key": "example.com/dry", "effect": "NoSchedule"}]}}),
        };
        self.patch(&node.key, &patch);
    }

    /// Adds a node, or takes one away for good.
    fn change_nodes(&mut self) {
        let name = format!("node-{}", self.random.below(4));
        match self.machines.get(&name).is_some_and(|m| m.is_on) {
            true => {
                self.cut_power(&name);
                self.machines.remove(&name);
                let key = ObjectKey::new(Resource::NODES, "", &name);
                self.delete(&key, DeleteOptions::default());
            }
            false => self.add_machine(&name),
        }
    }

    /// A writer reads a number, thinks, and writes the next one, unless somebody else did.
    pub fn count(&mut self, writer: usize) {
        if !self.faults.active {
            return;
        }
        let delay = self.random.millis(5, 60);
        match self.people.counts[writer].take() {
            None => {
                let key = ObjectKey::new(Resource::CONFIG_MAPS, "default", COUNTER);
                self.people.counts[writer] = self
                    .audit
                    .objects
                    .get(&key)
                    .cloned()
                    .map(|read| Count { read });
                if self.people.counts[writer].is_none() {
                    self.create(Resource::CONFIG_MAPS, "default", &manifests::counter());
                }
                self.after(delay, Happening::Count { writer });
            }
            Some(count) => {
                let mut object = count.read.to_value().expect("an object");
                let number = count_of(&count.read).unwrap_or(0) + 1;
                object["data"] = json!({"count": number.to_string(), "writer": writer.to_string()});
                let request = Request::Update {
                    key: count.read.key.clone(),
                    subresource: None,
                    object: object.to_string().into(),
                    options: WriteOptions::default(),
                };
                self.call_remote(Caller::Count { writer }, admin(), request);
            }
        }
    }

    pub fn count_answered(&mut self, writer: usize, _outcome: Outcome) {
        let delay = self.random.millis(300, 2500);
        self.after(delay, Happening::Count { writer });
    }

    /// People undo what would stand in the way of rest, until nothing of it is left.
    pub fn make_amends(&mut self) {
        let mut amends = Vec::new();
        for object in self.audit.objects.values() {
            let mut finalizers = object.meta().finalizers.iter().flatten();
            if finalizers.any(|f| f == HOLD) {
                let left: Vec<&String> = object
                    .meta()
                    .finalizers
                    .iter()
                    .flatten()
                    .filter(|f| *f != HOLD)
                    .collect();
                amends.push((
                    object.key.clone(),
                    json!({"metadata": {"finalizers": left}}),
                ));
            }
            if object.key.resource == Resource::NODES && is_troubled(object) {
                let patch = json!({"spec": {"unschedulable": null, "taints": null}});
                amends.push((object.key.clone(), patch));
            }
        }
        let gone: Vec<ObjectKey> = self
            .audit
            .of(&Resource::NODES)
            .filter(|node| !self.machines.contains_key(&*node.key.name))
            .map(|node| node.key.clone())
            .collect();
        self.people.is_content = amends.is_empty() && gone.is_empty() && self.server.is_up;
        for (key, patch) in amends {
            self.patch(&key, &patch);
        }
        for key in gone {
            self.delete(&key, DeleteOptions::default());
        }
        self.add_sized_machine(SPARE, 64_000, 110);
        if !self.people.is_content {
            self.after(Duration::from_secs(3), Happening::Heal);
        }
    }
}

fn is_troubled(node: &Stored) -> bool {
    let Ok(node) = node.to_value() else {
        return false;
    };
    let taints = node["spec"]["taints"]
        .as_array()
        .is_some_and(|t| !t.is_empty());
    node["spec"]["unschedulable"] == true || taints
}

/// The number in the counter.
pub(super) fn count_of(object: &Stored) -> Option<u64> {
    if &*object.key.name != COUNTER {
        return None;
    }
    object.to_value().ok()?["data"]["count"]
        .as_str()?
        .parse()
        .ok()
}
