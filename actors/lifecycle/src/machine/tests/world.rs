//! A clock, a machine, and what its effects were.

use crate::machine::{
    Effect, Exit, Fact, Host, ImageFailure, Instance, PodMachine, PodState, SeenContainer,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};
use std::sync::Arc;

pub struct World {
    pub now: Timestamp,
    pub machine: PodMachine,
    pub effects: Vec<Effect>,
}

pub fn pod(spec: Value) -> Value {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "web", "image": "demo"}]);
    }
    json!({"metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 3},
        "spec": spec})
}

pub fn typed(pod: &Value) -> Arc<Pod> {
    Arc::new(serde_json::from_value(pod.clone()).expect("a pod"))
}

pub fn host() -> Host {
    Host {
        ips: vec!["192.0.2.1".to_string()],
    }
}

pub fn instance(attempt: u32) -> Instance {
    Instance {
        container: "web".to_string(),
        attempt,
    }
}

impl World {
    pub fn new(spec: Value) -> Self {
        Self::of(&pod(spec))
    }

    pub fn of(pod: &Value) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut machine = PodMachine::new(typed(pod), host(), now);
        let effects = machine.start(now);
        Self {
            now,
            machine,
            effects,
        }
    }

    pub fn resumed(pod: &Value, stored: PodState, seen: &[SeenContainer]) -> Self {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        let mut machine = PodMachine::resume(typed(pod), host(), stored, seen, now);
        let effects = machine.start(now);
        Self {
            now,
            machine,
            effects,
        }
    }

    /// Feeds a fact and keeps what it led to.
    pub fn tell(&mut self, fact: Fact) -> &[Effect] {
        self.effects = self.machine.handle(fact, self.now);
        &self.effects
    }

    pub fn pass(&mut self, seconds: i64) -> &[Effect] {
        self.now += SignedDuration::from_secs(seconds);
        self.tell(Fact::Woken)
    }

    pub fn sandbox(&mut self) {
        self.tell(Fact::VolumesReady);
        self.tell(Fact::SandboxReady {
            ips: vec!["10.0.0.2".to_string()],
        });
    }

    pub fn image(&mut self) {
        self.tell(Fact::ImageReady {
            container: "web".to_string(),
            image_id: "sha256:1".to_string(),
            pulled: None,
        });
    }

    pub fn image_fails(&mut self, failure: ImageFailure, message: &str) {
        let message = message.to_string();
        self.tell(Fact::ImageFailed {
            container: "web".to_string(),
            failure,
            message,
        });
    }

    /// From an image that is there to a running instance.
    pub fn runs(&mut self, attempt: u32) {
        self.image();
        self.tell(Fact::ContainerCreated(instance(attempt)));
        let at = self.now;
        self.tell(Fact::ContainerStarted {
            instance: instance(attempt),
            at,
        });
    }

    pub fn exits(&mut self, attempt: u32, code: i32) -> &[Effect] {
        let exit = Exit {
            code,
            finished_at: Some(self.now),
            ..Exit::default()
        };
        self.tell(Fact::ContainerExited {
            instance: instance(attempt),
            exit,
        })
    }

    pub fn running(spec: Value) -> Self {
        let mut world = Self::new(spec);
        world.sandbox();
        world.runs(0);
        world
    }

    pub fn has(&self, wanted: &Effect) -> bool {
        self.effects.contains(wanted)
    }

    pub fn events(&self) -> Vec<String> {
        let record = |e: &Effect| match e {
            Effect::Record(event) => Some(format!("{}: {}", event.reason, event.message)),
            _ => None,
        };
        self.effects.iter().filter_map(record).collect()
    }

    pub fn phase(&self) -> &str {
        self.machine.status().phase.as_deref().unwrap_or_default()
    }

    pub fn container(&self) -> &ContainerStatus {
        &self
            .machine
            .status()
            .container_statuses
            .as_deref()
            .unwrap_or_default()[0]
    }

    pub fn waiting(&self) -> (String, String) {
        let state = self.container().state.clone().unwrap_or_default();
        let waiting = state.waiting.unwrap_or_default();
        (
            waiting.reason.unwrap_or_default(),
            waiting.message.unwrap_or_default(),
        )
    }

    pub fn condition(&self, type_: &str) -> (String, String) {
        let all = self
            .machine
            .status()
            .conditions
            .as_deref()
            .unwrap_or_default();
        let found = all.iter().find(|c| c.type_ == type_).expect("a condition");
        (
            found.status.clone(),
            found.reason.clone().unwrap_or_default(),
        )
    }
}
