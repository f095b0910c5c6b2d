//! How long each stage of a pod's start took on this node: it is how the start is kept fast.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// As many starts are remembered.
const REMEMBERED: usize = 256;

/// A stage of a pod's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The image is there.
    Image,
    /// Namespaces and network are there.
    Network,
    /// The volumes are there.
    Volumes,
    /// The first container is set up.
    Create,
    /// The first container runs.
    Start,
    /// The API knows that the pod runs.
    Report,
}

const STAGES: usize = 6;

/// The start of one pod: when each stage was complete.
#[derive(Debug, Clone)]
pub struct PodTrace {
    /// `namespace/name`
    pub pod: String,
    /// Its uid.
    pub uid: String,
    received: Instant,
    stages_us: [Option<u64>; STAGES],
}

/// The latest starts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traces {
    held: Arc<Mutex<VecDeque<PodTrace>>>,
}

impl PodTrace {
    /// Microseconds from the agent's receipt of the pod to the end of `stage`.
    pub fn stage_us(&self, stage: Stage) -> Option<u64> {
        self.stages_us[stage as usize]
    }

    /// When the agent received the pod.
    pub fn received(&self) -> Instant {
        self.received
    }
}

impl Traces {
    pub fn receive(&self, uid: &str, pod: String) {
        let trace = PodTrace {
            pod,
            uid: uid.to_string(),
            received: Instant::now(),
            stages_us: [None; STAGES],
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() == REMEMBERED {
            held.pop_front();
        }
        held.push_back(trace);
    }

    /// Notes the first end of a stage.
    pub fn reach(&self, uid: &str, stage: Stage) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(trace) = held.iter_mut().rev().find(|t| t.uid == uid) else {
            return;
        };
        let us = u64::try_from(trace.received.elapsed().as_micros()).unwrap_or(u64::MAX);
        let slot = &mut trace.stages_us[stage as usize];
        if slot.is_some() {
            return;
        }
        *slot = Some(us);
        if stage == Stage::Report {
            tracing::info!(
                pod.name = trace.pod,
                trace.image_us = trace.stage_us(Stage::Image),
                trace.network_us = trace.stage_us(Stage::Network),
                trace.volumes_us = trace.stage_us(Stage::Volumes),
                trace.create_us = trace.stage_us(Stage::Create),
                trace.start_us = trace.stage_us(Stage::Start),
                trace.report_us = trace.stage_us(Stage::Report),
                "pod runs"
            );
        }
    }

    pub fn all(&self) -> Vec<PodTrace> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}
