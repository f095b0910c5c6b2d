//! Which probes are to run.

use super::ProbeKind;
use crate::containers::Role;
use crate::machine::{Instance, Life, PodState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Probe};

/// A probe that is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Of which instance.
    pub instance: Instance,
    /// What for.
    pub kind: ProbeKind,
    /// What the manifest says of it.
    pub probe: Probe,
    /// Since when the instance runs.
    pub since: Timestamp,
    /// What it came to before, as far as that is known.
    pub held: bool,
}

/// The probes that are to run in this state. A startup probe runs alone; of a pod that ends, only
/// readiness is still looked at.
pub fn wanted(pod: &Pod, state: &PodState, ending: bool) -> Vec<Wanted> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let init = spec.init_containers.iter().flatten();
    let mut wanted = Vec::new();
    for container in init.chain(&spec.containers) {
        let probes = (
            &container.startup_probe,
            &container.readiness_probe,
            &container.liveness_probe,
        );
        if matches!(probes, (None, None, None)) {
            continue;
        }
        let Some(held) = state.containers.iter().find(|c| c.name == container.name) else {
            continue;
        };
        let Life::Running { started_at } = held.life else {
            continue;
        };
        if !held.is_settled() || !matches!(held.role, Role::Main | Role::Sidecar) {
            continue;
        }
        let stays = !ending && held.stop.is_none();
        let mut want = |kind, probe: &Option<Probe>, verdict| {
            if let Some(probe) = probe {
                wanted.push(Wanted {
                    instance: Instance {
                        container: held.name.clone(),
                        attempt: held.attempt.unwrap_or(0),
                    },
                    kind,
                    probe: probe.clone(),
                    since: started_at,
                    held: verdict,
                });
            }
        };
        if !held.is_started(Some(container)) {
            if stays {
                want(ProbeKind::Startup, probes.0, false);
            }
            continue;
        }
        want(ProbeKind::Readiness, probes.1, held.health.ready);
        if stays {
            want(ProbeKind::Liveness, probes.2, true);
        }
    }
    wanted
}
