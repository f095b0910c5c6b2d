//! A small cluster's state that requests are admitted against, and what must hold of every
//! answer:
//!
//! - a refusal is the caller's fault (4xx), never the server's;
//! - what is to be stored is an object of its kind that can be read, selected and shown;
//! - it is **settled**: writing it back as it is stored changes nothing and is refused by nothing.

use bytes::Bytes;
use kabuki_admission::{Context, Verdict, admit};
use kabuki_model::command::Op;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{Request, WriteOptions};
use kabuki_model::view::{MapView, View};
use kabuki_model::{ObjectKey, Resource, StatusError, Stored, kind};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

/// A state, and a clock that ticks with each request.
#[derive(Clone)]
pub struct World {
    view: MapView,
    tick: u32,
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing was to be written.
    Unchanged,
    /// These were written, in this order.
    Written(Vec<Arc<Stored>>),
    /// It was refused.
    Refused(StatusError),
}

static FURNISHED: LazyLock<World> = LazyLock::new(|| {
    let mut world = World {
        view: MapView::default(),
        tick: 0,
    };
    world.create(
        Resource::NAMESPACES,
        "",
        json!({"metadata": {"name": "default"}}),
    );
    world.create(Resource::NODES, "", json!({"metadata": {"name": "n1"}}));
    world.create(Resource::PODS, "default", pod());
    world.create(Resource::DEPLOYMENTS, "default", deployment());
    world.create(
        Resource::CONFIG_MAPS,
        "default",
        json!({"metadata": {"name": "settings"}, "data": {"a": "1"}}),
    );
    world
});

impl World {
    /// A namespace, a node, and one object each of a few kinds. Cheap.
    pub fn furnished() -> Self {
        FURNISHED.clone()
    }

    /// The state.
    pub fn view(&self) -> &MapView {
        &self.view
    }

    /// Admits a request, writes what it is to write, and checks all that must hold.
    pub fn ask(&mut self, request: &Request) -> Outcome {
        let verdict = match self.admit(request) {
            Ok(verdict) => verdict,
            Err(refusal) => {
                let code = refusal.reason.code();
                assert!(code < 500, "the server blames itself: {refusal:?}");
                return Outcome::Refused(refusal);
            }
        };
        let commits = match verdict {
            Verdict::Answer(_) => return Outcome::Unchanged,
            Verdict::Commit(commit) => vec![commit],
            Verdict::Each(each) => each.into_iter().flatten().collect(),
        };
        let mut written = Vec::new();
        for op in commits.into_iter().flat_map(|c| c.command.ops) {
            match op {
                Op::Put { key, uid, json, .. } => {
                    written.push(self.view.put(&Stored::new(key, uid, 0, json)));
                }
                Op::Delete { key, .. } => drop(self.view.remove(&key)),
                Op::Require { .. } | Op::Vacant { .. } => {}
            }
        }
        for object in &written {
            self.must_be_settled(object);
        }
        Outcome::Written(written)
    }

    fn admit(&mut self, request: &Request) -> Result<Verdict, StatusError> {
        self.tick += 1;
        let cx = Context {
            now: Timestamp::from_second(1_800_000_000 + i64::from(self.tick)).expect("a time"),
            entropy: u128::from(self.tick).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            term: 1,
        };
        admit(&self.view, &Identity::bootstrap(), request, &cx)
    }

    fn must_be_settled(&mut self, object: &Stored) {
        if self.view.get(&object.key).map(|o| o.revision) != Some(object.revision) {
            return; // a later operation of the same request replaced it
        }
        let value = object.to_value().expect("what is stored is JSON");
        let kind = kind::of(&object.key.resource).expect("only known kinds are stored");
        kind.decode(value.clone())
            .expect("what is stored is of its kind");
        kind.fields_of(object).expect("its fields can be selected");
        kind.row(object, Timestamp::UNIX_EPOCH)
            .expect("it can be shown");
        if value["metadata"]["deletionTimestamp"].is_string() {
            return; // writing it back may complete its deletion
        }
        let request = Request::Update {
            key: object.key.clone(),
            subresource: None,
            object: object.to_json().into(),
            options: WriteOptions::default(),
        };
        match self.admit(&request) {
            Ok(Verdict::Answer(_)) => {}
            Ok(Verdict::Commit(commit)) => panic!(
                "written back as it is stored, it changes:\n{value}\n{:?}",
                commit.command.ops.last()
            ),
            other => panic!("written back as it is stored: {other:?}\n{value}"),
        }
    }

    fn create(&mut self, resource: Resource, namespace: &str, object: Value) {
        let request = create(resource, namespace, &object);
        let outcome = self.ask(&request);
        assert!(matches!(outcome, Outcome::Written(_)), "{outcome:?}");
    }
}

/// The request that creates an object.
pub fn create(resource: Resource, namespace: &str, object: &Value) -> Request {
    Request::Create {
        resource,
        namespace: namespace.into(),
        object: Bytes::from(object.to_string()),
        options: WriteOptions::default(),
    }
}

/// The keys of what [`World::furnished`] holds, for patches.
pub fn furniture() -> [ObjectKey; 4] {
    [
        ObjectKey::new(Resource::PODS, "default", "web"),
        ObjectKey::new(Resource::DEPLOYMENTS, "default", "web"),
        ObjectKey::new(Resource::CONFIG_MAPS, "default", "settings"),
        ObjectKey::new(Resource::NODES, "", "n1"),
    ]
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "containers": [
                {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}],
                 "ports": [{"containerPort": 80}],
                 "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}}},
                {"name": "b", "image": "b:1",
                 "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    })
}

fn deployment() -> Value {
    let mut template = pod();
    template["metadata"] = json!({"labels": {"app": "web"}});
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
        },
    })
}
