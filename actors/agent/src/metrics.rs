//! What the node, its pods and their containers use: read from the cgroups, the pods' network
//! namespaces and the file systems.
//!
//! One actor samples every ten seconds and whenever somebody wants newer figures; between two
//! samples everybody is given the same. A rate (processors in use) is that between the last two
//! samples. The files of pods are counted rarely, because that takes reading all of their
//! directories.
//!
//! Who talks to it: the node's gate (`kabuki top`), and the pressure monitor.

mod read;

use crate::services::Services;
use kabuki_kit::{Alarm, CallError, ChildSpec, Slot};
use kabuki_protocol::node::{NodeMetrics, Usage};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often samples are taken when nobody asks: kubelet's own period.
const EVERY: Duration = Duration::from_secs(10);
/// Rates over a shorter time say little; the one before is kept.
const MIN_SPAN: Duration = Duration::from_millis(500);
/// How often the files of pods are counted.
const FILES_EVERY: Duration = Duration::from_secs(60);
/// A sample takes milliseconds; a node with very many files more.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(RactorMessage)]
pub(crate) enum MetricsMessage {
    Sample,
    Get {
        max_age: Duration,
        files: bool,
        reply: RpcReplyPort<Arc<NodeMetrics>>,
    },
}

/// Reaches the figures.
#[derive(Clone)]
pub(crate) struct MetricsHandle {
    slot: Slot<MetricsMessage>,
}

impl MetricsHandle {
    pub fn new() -> Self {
        Self {
            slot: Slot::new("metrics"),
        }
    }

    pub fn child(&self, services: &Arc<Services>) -> ChildSpec {
        let services = services.clone();
        ChildSpec::worker("metrics", &self.slot, move |_| {
            (
                Metrics {
                    services: services.clone(),
                },
                (),
            )
        })
    }

    /// Figures that are at most so old; with `files`, those of files as well.
    pub async fn get(&self, max_age: Duration, files: bool) -> Result<Arc<NodeMetrics>, CallError> {
        let get = |reply| MetricsMessage::Get {
            max_age,
            files,
            reply,
        };
        self.slot.call(get, LIMIT).await
    }
}

struct Metrics {
    services: Arc<Services>,
}

#[derive(Default)]
struct MetricsState {
    alarm: Alarm,
    shown: Option<(Instant, Arc<NodeMetrics>)>,
    /// What rates are reckoned from: CPU time by cgroup, the node's under an empty name.
    base: Option<(Instant, HashMap<String, u64>)>,
    rates: HashMap<String, u64>,
    /// Bytes and files of pods by uid.
    files: HashMap<String, (u64, u64)>,
    counted: Option<Instant>,
}

impl Metrics {
    async fn sample(&self, state: &mut MetricsState, files: bool) -> Arc<NodeMetrics> {
        let services = self.services.clone();
        let due = state.counted.is_none_or(|at| at.elapsed() >= FILES_EVERY);
        let count = files || due;
        let reading = tokio::task::spawn_blocking(move || {
            let read = read::all(&services);
            let files = count.then(|| read::files(&services));
            (Instant::now(), read, files)
        });
        let (at, mut read, files) = match reading.await {
            Ok(reading) => reading,
            Err(error) => {
                tracing::error!(%error, "nothing was measured");
                return state
                    .shown
                    .as_ref()
                    .map_or_else(Arc::default, |s| s.1.clone());
            }
        };
        if let Some(files) = files {
            (state.files, state.counted) = (files, Some(at));
        }
        state.rate(at, &read);
        let rate = |usage: &mut Usage, path: &str| {
            usage.cpu_nanocores = state.rates.get(path).copied().unwrap_or(0);
        };
        rate(&mut read.node.usage, "");
        for (pod, paths) in read.node.pods.iter_mut().zip(&read.paths) {
            rate(&mut pod.usage, &paths.pod);
            for (container, path) in pod.containers.iter_mut().zip(&paths.containers) {
                rate(&mut container.usage, path);
            }
            if let Some((bytes, inodes)) = state.files.get(&pod.uid) {
                (pod.disk_bytes, pod.disk_inodes) = (*bytes, *inodes);
            }
        }
        let shown = Arc::new(read.node);
        state.shown = Some((at, shown.clone()));
        shown
    }
}

impl MetricsState {
    /// Reckons the rates since the last sample that is old enough.
    fn rate(&mut self, at: Instant, read: &read::Reading) {
        let mut now = HashMap::from([(String::new(), read.node.usage.cpu_ns)]);
        for (pod, paths) in read.node.pods.iter().zip(&read.paths) {
            now.insert(paths.pod.clone(), pod.usage.cpu_ns);
            for (container, path) in pod.containers.iter().zip(&paths.containers) {
                now.insert(path.clone(), container.usage.cpu_ns);
            }
        }
        if let Some((since, before)) = &self.base {
            let span = at.duration_since(*since);
            if span < MIN_SPAN {
                return;
            }
            let rates = now.iter().filter_map(|(path, ns)| {
                let used = ns.saturating_sub(*before.get(path)?);
                Some((path.clone(), nanocores(used, span)))
            });
            self.rates = rates.collect();
        }
        self.base = Some((at, now));
    }
}

/// Billionths of a processor from the time that was used of a span.
fn nanocores(used_ns: u64, span: Duration) -> u64 {
    let rate = u128::from(used_ns) * 1_000_000_000 / span.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

impl Actor for Metrics {
    type Msg = MetricsMessage;
    type State = MetricsState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<MetricsMessage>,
        (): (),
    ) -> Result<MetricsState, ActorProcessingErr> {
        myself.cast(MetricsMessage::Sample)?;
        Ok(MetricsState::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<MetricsMessage>,
        message: MetricsMessage,
        state: &mut MetricsState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MetricsMessage::Sample => {
                self.sample(state, false).await;
                let next = Instant::now() + EVERY;
                state.alarm.set(next, &myself, MetricsMessage::Sample);
            }
            MetricsMessage::Get {
                max_age,
                files,
                reply,
            } => {
                let held = state
                    .shown
                    .as_ref()
                    .filter(|(at, _)| at.elapsed() <= max_age);
                let answer = match held {
                    Some((_, shown)) if !files => shown.clone(),
                    _ => self.sample(state, files).await,
                };
                // Whoever asked may have gone.
                let _ = reply.send(answer);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_time_used_over_time_passed() {
        assert_eq!(nanocores(500_000_000, Duration::from_secs(1)), 500_000_000);
        assert_eq!(
            nanocores(3_000_000_000, Duration::from_secs(2)),
            1_500_000_000
        );
        assert_eq!(nanocores(1, Duration::ZERO), 1_000_000_000);
    }
}
