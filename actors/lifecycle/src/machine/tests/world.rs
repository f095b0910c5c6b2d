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
        self.tell(Fact::ContainerCreated {
            instance: instance(attempt),
            user: None,
        });
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

    /// From an image that is there to a running instance of a container by name.
    pub fn runs_as(&mut self, name: &str, attempt: u32) -> &[Effect] {
        let image_id = "sha256:1".to_string();
        self.tell(Fact::ImageReady {
            container: name.to_string(),
            image_id,
            pulled: None,
        });
        let instance = of(name, attempt);
        assert!(
            self.has(&Effect::CreateContainer(instance.clone())),
            "{name} is created: {:?}",
            self.effects
        );
        self.tell(Fact::ContainerCreated {
            instance: instance.clone(),
            user: None,
        });
        let at = self.now;
        self.tell(Fact::ContainerStarted { instance, at })
    }

    pub fn ends_as(&mut self, name: &str, attempt: u32, code: i32) -> &[Effect] {
        let exit = Exit {
            code,
            finished_at: Some(self.now),
            ..Exit::default()
        };
        let instance = of(name, attempt);
        self.tell(Fact::ContainerExited { instance, exit })
    }

    pub fn delete(&mut self, grace_s: i64) -> &[Effect] {
        let mut pod = (**self.machine.pod()).clone();
        let at = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now);
        pod.metadata.deletion_timestamp = Some(at);
        pod.metadata.deletion_grace_period_seconds = Some(grace_s);
        self.tell(Fact::PodChanged(pod.into()))
    }

    /// Whether an image of that container is asked for, or one is being made.
    pub fn begins(&self, name: &str) -> bool {
        self.effects.iter().any(|e| match e {
            Effect::PullImage { container, .. } => container == name,
            Effect::CreateContainer(instance) => instance.container == name,
            _ => false,
        })
    }

    /// The status of a container of any kind.
    pub fn status_of(&self, name: &str) -> &ContainerStatus {
        let status = self.machine.status();
        let lists = [
            &status.init_container_statuses,
            &status.container_statuses,
            &status.ephemeral_container_statuses,
        ];
        let mut all = lists.into_iter().flatten().flatten();
        all.find(|s| s.name == name).expect("a status")
    }

    pub fn waits(&self, name: &str) -> String {
        let state = self.status_of(name).state.clone().unwrap_or_default();
        state.waiting.and_then(|w| w.reason).unwrap_or_default()
    }

    pub fn turned(&mut self, name: &str, probe: crate::probe::ProbeKind, healthy: bool) {
        let attempt = u32::try_from(self.status_of(name).restart_count).expect("a count");
        self.tell(Fact::ProbeTurned {
            instance: of(name, attempt),
            probe,
            healthy,
        });
    }

    /// The kinds of the probes that are to run, by container.
    pub fn probes(&self) -> Vec<(String, crate::probe::ProbeKind)> {
        let probes = self.machine.probes();
        probes
            .into_iter()
            .map(|w| (w.instance.container, w.kind))
            .collect()
    }

    pub fn hook_ends(&mut self, name: &str, hook: crate::machine::HookKind, failed: bool) {
        let instance = of(name, 0);
        self.tell(Fact::HookEnded {
            instance,
            hook,
            failed,
        });
    }
}

pub fn of(name: &str, attempt: u32) -> Instance {
    Instance {
        container: name.to_string(),
        attempt,
    }
}
