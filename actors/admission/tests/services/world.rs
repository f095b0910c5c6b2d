//! A state with the range of services' addresses, to which writes are made one after the other or
//! on states that others have changed meanwhile.

use bytes::Bytes;
use kabuki_admission::{Commit, Completed, Context, Verdict, admit, complete};
use kabuki_model::command::{Applied, Change, Expect, Op};
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{DeleteOptions, PatchType, Request, WriteOptions};
use kabuki_model::view::{MapView, View};
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Value, json};

pub struct World {
    pub view: MapView,
    tick: u64,
}

impl World {
    /// A cluster that was founded with this range.
    pub fn new(range: &str) -> Self {
        let mut world = Self {
            view: MapView::default(),
            tick: 0,
        };
        for name in ["default", "kube-system"] {
            let object = json!({"metadata": {"name": name}});
            world
                .create("", Resource::NAMESPACES, object)
                .expect("is created");
        }
        let charter =
            json!({"metadata": {"name": "kabuki-cluster"}, "data": {"serviceCidr": range}});
        world
            .create("kube-system", Resource::CONFIG_MAPS, charter)
            .expect("is created");
        world
    }

    fn context(&mut self) -> Context {
        self.tick += 1;
        Context {
            now: Timestamp::from_second(1_700_000_000).expect("a time"),
            entropy: u128::from(self.tick).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            term: 1,
        }
    }

    /// Decides on a request as of an earlier state.
    pub fn admit_on(&mut self, view: &MapView, request: &Request) -> Result<Verdict, StatusError> {
        let cx = self.context();
        admit(view, &Identity::bootstrap(), request, &cx)
    }

    /// What the gateway does, except that nothing comes in between.
    pub fn ask(&mut self, request: &Request) -> Result<Value, StatusError> {
        let view = self.view.clone();
        let verdict = self.admit_on(&view, request)?;
        self.finish(verdict, request)
    }

    /// Applies what was decided; decides anew where that is what the gateway would do.
    pub fn finish(&mut self, verdict: Verdict, request: &Request) -> Result<Value, StatusError> {
        match verdict {
            Verdict::Answer(answer) => Ok(value(&answer.into_object().expect("an object"))),
            Verdict::Commit(commit) => match self.commit(commit) {
                Completed::Answer(answer) => Ok(value(&answer.into_object().expect("an object"))),
                Completed::Refused(error) => Err(error),
                Completed::Retry => self.ask(request),
            },
            Verdict::Each(_) => panic!("no such request is made here"),
        }
    }

    pub fn commit(&mut self, commit: Commit) -> Completed {
        let applied = self.apply(&commit.command.ops);
        complete(commit, applied)
    }

    fn apply(&mut self, ops: &[Op]) -> Applied {
        let before = self.view.clone();
        let mut changes = Vec::new();
        for (number, op) in ops.iter().enumerate() {
            match self.perform(op) {
                Ok(change) => changes.extend(change),
                Err(found) => {
                    self.view = before;
                    return Applied::Refused {
                        op: number,
                        key: op.key().clone(),
                        found,
                    };
                }
            }
        }
        Applied::Committed(changes)
    }

    fn perform(&mut self, op: &Op) -> Result<Option<Change>, Option<u64>> {
        let found = self.view.get(op.key()).map(|o| o.revision);
        let holds = |expect: &Expect| match expect {
            Expect::Any => true,
            Expect::Absent => found.is_none(),
            Expect::Revision(revision) => found == Some(*revision),
            Expect::Present | Expect::Uid(_) => found.is_some(),
        };
        let holds = match op {
            Op::Put { expect, .. } | Op::Delete { expect, .. } | Op::Require { expect, .. } => {
                holds(expect)
            }
            Op::Vacant { key, index, value } => {
                let mut holders = self.view.indexed(*index, value);
                holders.all(|o| o.key == *key)
            }
        };
        if !holds {
            return Err(found);
        }
        let (object, removed) = match op {
            Op::Put { key, uid, json, .. } => {
                let object = Stored::new(key.clone(), uid.clone(), 0, json.clone());
                (self.view.put(&object), false)
            }
            Op::Delete { key, .. } => (self.view.remove(key).ok_or(None)?, true),
            Op::Require { .. } | Op::Vacant { .. } => return Ok(None),
        };
        Ok(Some(Change {
            object,
            previous: None,
            removed,
        }))
    }

    pub fn create(
        &mut self,
        namespace: &str,
        resource: Resource,
        object: Value,
    ) -> Result<Value, StatusError> {
        self.ask(&create(namespace, resource, &object))
    }

    /// Creates a service in `default`.
    pub fn service(&mut self, name: &str, spec: Value) -> Result<Value, StatusError> {
        self.ask(&service(name, &spec))
    }

    pub fn patch(&mut self, name: &str, patch: Value) -> Result<Value, StatusError> {
        self.ask(&patch_of(name, &patch))
    }

    pub fn delete(&mut self, key: &ObjectKey) -> Result<Value, StatusError> {
        self.ask(&Request::Delete {
            key: key.clone(),
            options: DeleteOptions::default(),
        })
    }
}

fn value(stored: &Stored) -> Value {
    stored.to_value().expect("JSON")
}

pub fn create(namespace: &str, resource: Resource, object: &Value) -> Request {
    Request::Create {
        resource,
        namespace: namespace.into(),
        object: Bytes::from(object.to_string()),
        options: WriteOptions::default(),
    }
}

/// The request that creates a service in `default`.
pub fn service(name: &str, spec: &Value) -> Request {
    let object = json!({"metadata": {"name": name}, "spec": spec});
    create("default", Resource::SERVICES, &object)
}

pub fn patch_of(name: &str, patch: &Value) -> Request {
    Request::Patch {
        key: key(name),
        subresource: None,
        patch_type: PatchType::Merge,
        patch: Bytes::from(patch.to_string()),
        options: WriteOptions::default(),
    }
}

pub fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::SERVICES, "default", name)
}

/// A service of a type with one port.
pub fn of_type(service_type: &str) -> Value {
    json!({"type": service_type, "ports": [{"port": 80}]})
}

/// The one cause of a refusal.
pub fn cause(refused: Result<Value, StatusError>) -> String {
    let error = refused.expect_err("refused");
    let causes = &error.causes;
    assert_eq!(causes.len(), 1, "{error}");
    format!("{}: {}", causes[0].field, causes[0].message)
}
