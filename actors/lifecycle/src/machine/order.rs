//! Who starts when: init containers one after the other, then all others; and who ends when
//! (Kubernetes, "Init Containers", "Sidecar Containers").

use super::PodMachine;
use super::state::{Container, Image, Life};
use crate::containers::Role;
use jiff::Timestamp;

impl PodMachine {
    /// Notes which init containers need not be waited for any more.
    pub(super) fn note_passed(&mut self) {
        for index in 0..self.state.containers.len() {
            let Some(container) = self.state.containers.get(index) else {
                return;
            };
            if !container.role.is_init() || container.passed {
                continue;
            }
            let passed = match (container.role, &container.life) {
                (Role::Init, Life::Ended(ended)) => ended.exit_code == 0,
                (Role::Sidecar, _) => self.is_started(index),
                _ => false,
            };
            if !passed {
                return;
            }
            if let Some(container) = self.state.containers.get_mut(index) {
                container.passed = true;
            }
        }
    }

    /// Whether all init containers are done with, or have been started to stay.
    pub(crate) fn is_initialized(&self) -> bool {
        self.state.is_initialized()
    }

    /// Whether it is this container's turn to be started.
    pub(super) fn may_start(&self, index: usize) -> bool {
        let containers = &self.state.containers;
        let Some(container) = containers.get(index) else {
            return false;
        };
        let earlier = &containers[..index.min(containers.len())];
        match container.role {
            Role::Ephemeral => true,
            Role::Init | Role::Sidecar => earlier.iter().all(|c| c.passed),
            Role::Main => {
                self.is_initialized() && !(0..index).any(|at| self.holds_back(at, &containers[at]))
            }
        }
    }

    /// Whether a main container is on its way and has a `postStart` hook: the management of the
    /// others blocks until that has ended. One that cannot start holds nobody back.
    fn holds_back(&self, index: usize, container: &Container) -> bool {
        if container.role != Role::Main || !self.has_post_start(index) {
            return false;
        }
        match &container.life {
            Life::Waiting { retry_at, .. } => {
                retry_at.is_none() && !matches!(container.image, Image::Failed { .. })
            }
            Life::Creating | Life::Created | Life::Starting => true,
            Life::Running { .. } => !container.is_settled(),
            Life::Ended(_) => false,
        }
    }

    /// Whether a container of a pod that ends may be asked to end by now: those that accompany
    /// others end after them, the last one first, or when the grace is over.
    pub(super) fn may_end(&self, index: usize, deadline: Timestamp, now: Timestamp) -> bool {
        let containers = &self.state.containers;
        let is_sidecar = containers
            .get(index)
            .is_some_and(|c| c.role == Role::Sidecar);
        if !is_sidecar || deadline <= now {
            return true;
        }
        let before = |(at, c): (usize, &Container)| match c.role {
            Role::Main => c.is_live(),
            Role::Sidecar => at > index && c.is_live(),
            Role::Init | Role::Ephemeral => false,
        };
        !containers.iter().enumerate().any(before)
    }

    /// In another sandbox all init containers run again.
    pub(super) fn begin_again(&mut self) {
        for container in &mut self.state.containers {
            if !container.role.is_init() {
                continue;
            }
            container.passed = false;
            let ended = match &container.life {
                Life::Ended(ended) if container.role == Role::Init && ended.exit_code == 0 => ended,
                _ => continue,
            };
            container.last = Some(ended.clone());
            container.image = Image::Unknown;
            container.life = Life::creating();
        }
    }
}
