//! Namespaces, network and volumes.

use super::backoff::{CONFIG_MAX_MS, CONFIG_MS, VOLUME_MAX_MS, VOLUME_MS};
use super::container::ended;
use super::effect::Effect;
use super::fact::Exit;
use super::state::{Life, Sandbox, Volumes};
use super::{PodMachine, after_ms};
use jiff::Timestamp;

/// What a container gets that died with its sandbox: that of a kill.
const KILLED: i32 = 137;

impl PodMachine {
    /// Whether any container runs or may yet run.
    fn is_wanted(&self) -> bool {
        !self.all_ended_for_good()
    }

    pub(super) fn advance_volumes(&mut self, now: Timestamp) {
        let due = match &self.state.volumes {
            Volumes::Absent => true,
            Volumes::Failed { retry_at } => *retry_at <= now,
            Volumes::Preparing | Volumes::Ready => false,
        };
        // A sandbox that is on its way out may take volumes in its memory with it.
        let leaving = matches!(
            self.state.sandbox,
            Sandbox::Lost | Sandbox::TearingDown { .. } | Sandbox::Gone
        );
        if due && !leaving && self.is_wanted() {
            self.state.volumes = Volumes::Preparing;
            self.emit(Effect::PrepareVolumes);
        }
    }

    pub(super) fn advance_sandbox(&mut self, now: Timestamp) {
        let due = match &self.state.sandbox {
            Sandbox::Absent => true,
            Sandbox::Failed { retry_at } => *retry_at <= now,
            Sandbox::Lost if self.is_quiet() => {
                self.state.sandbox = Sandbox::TearingDown { keep_volumes: true };
                self.state.volumes = Volumes::Absent;
                return self.emit(Effect::TeardownSandbox { keep_volumes: true });
            }
            _ => false,
        };
        if due && self.is_wanted() {
            self.state.sandbox = Sandbox::Preparing;
            self.state.resize.whole = self.state.resize.granted.clone();
            self.state.resize.widened = self.state.resize.granted.clone();
            self.emit(Effect::PrepareSandbox);
        }
    }

    /// Whether nothing is being done in the sandbox whose outcome is still to come.
    fn is_quiet(&self) -> bool {
        let busy = |life: &Life| matches!(life, Life::Creating | Life::Starting);
        self.state.volumes != Volumes::Preparing
            && !self.state.containers.iter().any(|c| busy(&c.life))
    }

    pub(super) fn volumes_ready(&mut self) {
        if self.state.volumes == Volumes::Preparing {
            self.state.volumes = Volumes::Ready;
            self.state.volume_backoff.reset();
        }
    }

    pub(super) fn volumes_failed(&mut self, volume: &str, message: &str, now: Timestamp) {
        if self.state.volumes != Volumes::Preparing {
            return;
        }
        let delay_ms = self.state.volume_backoff.fail(VOLUME_MS, VOLUME_MAX_MS);
        self.state.volumes = Volumes::Failed {
            retry_at: after_ms(now, delay_ms),
        };
        let text = format!("MountVolume.SetUp failed for volume {volume:?} : {message}");
        self.record(true, "FailedMount", text);
    }

    pub(super) fn sandbox_ready(&mut self, ips: Vec<String>) {
        if self.state.sandbox == Sandbox::Preparing {
            self.state.sandbox = Sandbox::Ready;
            self.state.sandbox_backoff.reset();
            self.state.ips = ips;
        }
    }

    pub(super) fn sandbox_failed(&mut self, message: &str, now: Timestamp) {
        if self.state.sandbox != Sandbox::Preparing {
            return;
        }
        let delay_ms = self.state.sandbox_backoff.fail(CONFIG_MS, CONFIG_MAX_MS);
        self.state.sandbox = Sandbox::Failed {
            retry_at: after_ms(now, delay_ms),
        };
        let text = format!("Failed to create pod sandbox: {message}");
        self.record(true, "FailedCreatePodSandBox", text);
    }

    /// All processes of the pod are gone.
    pub(super) fn sandbox_lost(&mut self, now: Timestamp) {
        if self.state.sandbox != Sandbox::Ready {
            return;
        }
        self.state.sandbox = Sandbox::Lost;
        self.end_with_sandbox(now);
        if !self.is_ending() {
            let text = "Pod sandbox changed, it will be killed and re-created.";
            self.record(false, "SandboxChanged", text.to_string());
        }
    }

    /// Nothing runs without a sandbox. What is being created or started is not touched: its
    /// outcome is still to come.
    pub(super) fn end_with_sandbox(&mut self, now: Timestamp) {
        if self.state.sandbox == Sandbox::Ready {
            return;
        }
        for container in &mut self.state.containers {
            let started_at = match container.life {
                Life::Running { started_at } => Some(started_at),
                Life::Created => None,
                _ => continue,
            };
            let exit = Exit {
                code: KILLED,
                started_at,
                ..Exit::default()
            };
            container.life = Life::Ended(ended(container.attempt, exit, now));
            container.stop = None;
        }
    }

    pub(super) fn sandbox_gone(&mut self) {
        match self.state.sandbox {
            Sandbox::TearingDown { keep_volumes: true } => {
                self.state.sandbox = Sandbox::Absent;
                self.begin_again();
            }
            Sandbox::TearingDown {
                keep_volumes: false,
            } => self.state.sandbox = Sandbox::Gone,
            _ => {}
        }
    }
}
