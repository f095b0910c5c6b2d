//! What a node says to the API: of each pod the newest status, one request at a time and again
//! until it is heard; the farewell of pods that have ended; and itself.

use super::World;
use crate::simulation::calls::{Caller, Outcome};
use crate::simulation::world::Happening;
use kabuki_model::identity::Identity;
use kabuki_model::request::{DeleteOptions, PatchType, Request, Subresource, WriteOptions};
use kabuki_model::status::Reason;
use kabuki_model::{Resource, StatusError};
use serde_json::{Value, json};
use std::time::Duration;

/// What was not heard is said again after this time.
const AGAIN: Duration = Duration::from_millis(200);
/// The fields that the node owns: those that a status lacks are removed from the API's.
const OWNED: &[&str] = &["hostIP", "hostIPs", "podIP", "podIPs", "reason", "message"];

/// How far the API knows of a pod's status.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Report {
    version: u64,
    written: u64,
    is_busy: bool,
}

impl Report {
    pub fn is_settled(&self) -> bool {
        self.version == self.written && !self.is_busy
    }
}

impl World {
    pub(super) fn status_changed(&mut self, name: &str, uid: &str) {
        let Some(life) = self.life(name, uid) else {
            return;
        };
        life.report.version += 1;
        if !life.report.is_busy {
            self.send_report(name, uid);
        }
    }

    fn send_report(&mut self, name: &str, uid: &str) {
        let Some(life) = self.life(name, uid) else {
            return;
        };
        life.report.is_busy = true;
        let version = life.report.version;
        let mut status = serde_json::to_value(life.machine.status()).expect("a status is JSON");
        for field in OWNED {
            if status.get(field).is_none() {
                status[*field] = Value::Null;
            }
        }
        let patch = json!({"metadata": {"uid": uid}, "status": status});
        let request = Request::Patch {
            key: life.key.clone(),
            subresource: Some(Subresource::Status),
            patch_type: PatchType::Merge,
            patch: patch.to_string().into(),
            options: WriteOptions::default(),
        };
        let boot = self.machines.get(name).map_or(0, |m| m.boot);
        let (node, uid) = (name.to_string(), uid.to_string());
        let caller = Caller::Report {
            node,
            boot,
            uid,
            version,
        };
        self.call_remote(caller, Identity::node(name), request);
    }

    pub fn report_answered(
        &mut self,
        name: &str,
        boot: u64,
        uid: &str,
        version: u64,
        end: Outcome,
    ) {
        if !self.is_boot(name, boot) {
            return;
        }
        let heard = is_heard(&end);
        let Some(life) = self.life(name, uid) else {
            return;
        };
        if heard {
            life.report.written = life.report.written.max(version);
            life.report.is_busy = false;
            if life.report.written < life.report.version {
                return self.send_report(name, uid);
            }
            if life.is_leaving {
                self.say_farewell(name, boot, uid);
            }
            return;
        }
        let (node, uid) = (name.to_string(), uid.to_string());
        self.after(AGAIN, Happening::Report { node, boot, uid });
    }

    pub fn report(&mut self, name: &str, boot: u64, uid: &str) {
        if self.is_boot(name, boot) {
            self.send_report(name, uid);
        }
    }

    pub(super) fn finished(&mut self, name: &str, uid: &str, delete_from_api: bool) {
        let boot = self.machines.get(name).map_or(0, |m| m.boot);
        if !delete_from_api {
            if let Some(agent) = self.machines.get_mut(name).and_then(|m| m.agent.as_mut()) {
                agent.lives.remove(uid);
            }
            return;
        }
        let Some(life) = self.life(name, uid) else {
            return;
        };
        life.is_leaving = true;
        if life.report.is_settled() {
            self.say_farewell(name, boot, uid);
        }
    }

    /// Lets the API forget a pod that has ended here.
    pub fn say_farewell(&mut self, name: &str, boot: u64, uid: &str) {
        if !self.is_boot(name, boot) {
            return;
        }
        let Some(life) = self.life(name, uid) else {
            return;
        };
        let request = Request::Delete {
            key: life.key.clone(),
            options: DeleteOptions {
                grace_period_s: Some(0),
                uid: Some(uid.into()),
                ..DeleteOptions::default()
            },
        };
        let (node, uid) = (name.to_string(), uid.to_string());
        let caller = Caller::Farewell { node, boot, uid };
        self.call_remote(caller, Identity::node(name), request);
    }

    pub fn farewell_answered(&mut self, name: &str, boot: u64, uid: &str, end: Outcome) {
        if !self.is_boot(name, boot) {
            return;
        }
        if !is_heard(&end) {
            let (node, uid) = (name.to_string(), uid.to_string());
            return self.after(AGAIN, Happening::Farewell { node, boot, uid });
        }
        if let Some(agent) = self.machines.get_mut(name).and_then(|m| m.agent.as_mut()) {
            agent.lives.remove(uid);
        }
    }

    /// Registers the node.
    pub fn register(&mut self, name: &str, boot: u64) {
        if !self.is_boot(name, boot) {
            return;
        }
        let Some(machine) = self.machines.get(name) else {
            return;
        };
        let capacity = json!({
            "cpu": format!("{}m", machine.cpu_milli), "memory": "4Gi",
            "pods": machine.pods.to_string(),
        });
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {
                "capacity": capacity, "allocatable": capacity,
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        let request = Request::Create {
            resource: Resource::NODES,
            namespace: "".into(),
            object: node.to_string().into(),
            options: WriteOptions::default(),
        };
        let caller = Caller::Registration {
            node: name.to_string(),
            boot,
        };
        self.call_remote(caller, Identity::node(name), request);
    }

    pub fn registration_answered(&mut self, name: &str, boot: u64, end: Outcome) {
        if !self.is_boot(name, boot) {
            return;
        }
        let known = matches!(&end, Err(error) if error.reason == Reason::AlreadyExists);
        if end.is_ok() || known {
            if let Some(agent) = self.machines.get_mut(name).and_then(|m| m.agent.as_mut()) {
                agent.is_registered = true;
            }
            return;
        }
        self.after(
            AGAIN,
            Happening::Register {
                node: name.to_string(),
                boot,
            },
        );
    }

    fn is_boot(&self, name: &str, boot: u64) -> bool {
        self.machines
            .get(name)
            .is_some_and(|m| m.boot == boot && m.agent.is_some())
    }
}

/// Whether there is no use in saying it again: it was heard, or nobody wants to know any more.
fn is_heard(end: &Outcome) -> bool {
    let lasting = |error: &StatusError| match error.reason {
        Reason::Conflict => error.message.contains("UID in precondition"),
        reason => matches!(
            reason,
            Reason::NotFound | Reason::Invalid | Reason::BadRequest | Reason::Forbidden
        ),
    };
    end.as_ref().err().is_none_or(lasting)
}
