//! How a node looks after its pods: the keys of kubelet's configuration file, under its names.

use anyhow::{Context, anyhow, bail};
use jiff::SignedDuration;
use kabuki_agent::eviction::Settings;
use kabuki_agent::{CpuSet, ImageGc};
use kabuki_model::Quantity;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

type Texts = BTreeMap<String, String>;

/// The keys in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodsFile {
    eviction_hard: Option<Texts>,
    #[serde(default)]
    eviction_soft: Texts,
    #[serde(default)]
    eviction_soft_grace_period: Texts,
    #[serde(default)]
    eviction_minimum_reclaim: Texts,
    eviction_max_pod_grace_period: Option<i64>,
    eviction_pressure_transition_period: Option<SignedDuration>,
    #[serde(rename = "imageGCHighThresholdPercent")]
    image_gc_high: Option<u8>,
    #[serde(rename = "imageGCLowThresholdPercent")]
    image_gc_low: Option<u8>,
    #[serde(rename = "imageMinimumGCAge")]
    image_minimum_age: Option<SignedDuration>,
    container_log_max_size: Option<String>,
    container_log_max_files: Option<u32>,
    #[serde(default)]
    allowed_unsafe_sysctls: Vec<String>,
    static_pod_path: Option<PathBuf>,
    cpu_manager_policy: Option<String>,
    #[serde(rename = "reservedSystemCPUs")]
    reserved_system_cpus: Option<String>,
    shutdown_grace_period: Option<SignedDuration>,
    shutdown_grace_period_critical_pods: Option<SignedDuration>,
}

/// How a node looks after its pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Pods {
    /// When pods are evicted.
    pub eviction: Settings,
    /// When images are removed.
    pub image_gc: ImageGc,
    /// The size at which a log is rotated, in bytes; `None` is the agent's default.
    pub log_max_bytes: Option<u64>,
    /// How many files of a log are kept; `None` is the agent's default.
    pub log_max_files: Option<u32>,
    /// Kernel parameters that pods may set although others may feel it.
    pub unsafe_sysctls: Vec<String>,
    /// Whether containers can have processors to themselves.
    pub exclusive_cpus: bool,
    /// The processors that the system keeps.
    pub reserved_cpus: Option<CpuSet>,
    /// The folder of pods that the node runs by itself.
    pub static_pods: Option<PathBuf>,
    /// How long pods have to end with the node, and the part of it that is for critical ones.
    pub shutdown: Option<(Duration, Duration)>,
}

impl Pods {
    pub(super) fn settle(file: PodsFile) -> anyhow::Result<Self> {
        let mut eviction = Settings::parse(
            file.eviction_hard.as_ref(),
            &file.eviction_soft,
            &file.eviction_soft_grace_period,
            &file.eviction_minimum_reclaim,
        )?;
        if let Some(seconds) = file.eviction_max_pod_grace_period {
            eviction.max_pod_grace_s = seconds;
        }
        if let Some(period) = file.eviction_pressure_transition_period {
            eviction.transition = period;
        }
        let usual = ImageGc::default();
        let age = file.image_minimum_age.map(Duration::try_from).transpose();
        let image_gc = ImageGc {
            high_percent: file.image_gc_high.unwrap_or(usual.high_percent),
            low_percent: file.image_gc_low.unwrap_or(usual.low_percent),
            minimum_age: age
                .context("imageMinimumGCAge must not be negative")?
                .unwrap_or(usual.minimum_age),
        };
        if image_gc.high_percent > 100 || image_gc.low_percent >= image_gc.high_percent {
            bail!(
                "imageGCLowThresholdPercent ({}) must be below imageGCHighThresholdPercent ({}), \
                 and that at most 100",
                image_gc.low_percent,
                image_gc.high_percent
            );
        }
        if file.container_log_max_files.is_some_and(|files| files < 2) {
            bail!("containerLogMaxFiles must be at least 2");
        }
        let log_max_bytes = file.container_log_max_size.as_deref().map(log_size);
        Ok(Self {
            eviction,
            image_gc,
            log_max_bytes: log_max_bytes.transpose()?,
            log_max_files: file.container_log_max_files,
            unsafe_sysctls: file.allowed_unsafe_sysctls,
            static_pods: absolute(file.static_pod_path)?,
            exclusive_cpus: exclusive_cpus(file.cpu_manager_policy.as_deref())?,
            reserved_cpus: reserved_cpus(file.reserved_system_cpus.as_deref())?,
            shutdown: shutdown(
                file.shutdown_grace_period,
                file.shutdown_grace_period_critical_pods,
            )?,
        })
    }
}

fn exclusive_cpus(policy: Option<&str>) -> anyhow::Result<bool> {
    match policy.unwrap_or("none") {
        "none" | "" => Ok(false),
        "static" => Ok(true),
        other => bail!("cpuManagerPolicy {other:?} is not known: use none or static"),
    }
}

fn reserved_cpus(text: Option<&str>) -> anyhow::Result<Option<CpuSet>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let cpus = text
        .parse()
        .map_err(|why| anyhow!("reservedSystemCPUs: {why}"))?;
    Ok(Some(cpus))
}

fn absolute(path: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    match path.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) if !path.is_absolute() => {
            bail!("staticPodPath {} must be an absolute path", path.display())
        }
        path => Ok(path),
    }
}

/// Without a period, or with one of zero, containers outlive the node's program.
fn shutdown(
    all: Option<SignedDuration>,
    critical: Option<SignedDuration>,
) -> anyhow::Result<Option<(Duration, Duration)>> {
    let read = |name, period: Option<SignedDuration>| {
        let period = Duration::try_from(period.unwrap_or_default());
        period.with_context(|| format!("{name} must not be negative"))
    };
    let all = read("shutdownGracePeriod", all)?;
    let critical = read("shutdownGracePeriodCriticalPods", critical)?;
    if critical > all {
        bail!("shutdownGracePeriodCriticalPods must not be longer than shutdownGracePeriod");
    }
    Ok((!all.is_zero()).then_some((all, critical)))
}

fn log_size(text: &str) -> anyhow::Result<u64> {
    let quantity: Option<Quantity> = text.parse().ok();
    let bytes = quantity.and_then(|q| u64::try_from(q.value_ceil()).ok());
    match bytes.filter(|bytes| *bytes > 0) {
        Some(bytes) => Ok(bytes),
        None => bail!("containerLogMaxSize {text:?} is no size such as 10Mi"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(yaml: &str) -> Result<Pods, String> {
        let file: PodsFile = serde_yaml_ng::from_str(yaml).expect("a file");
        Pods::settle(file).map_err(|error| error.to_string())
    }

    #[test]
    fn kubelets_keys_are_read_and_faults_named() {
        let pods = settle(
            "evictionHard: {memory.available: 1Gi}\nimageGCHighThresholdPercent: 50\n\
             imageGCLowThresholdPercent: 40\nimageMinimumGCAge: 1m\ncontainerLogMaxSize: 5Mi\n\
             containerLogMaxFiles: 3\nevictionPressureTransitionPeriod: 30s\n",
        )
        .expect("settings");
        assert_eq!(pods.eviction.hard.len(), 1);
        assert_eq!(pods.eviction.transition, SignedDuration::from_secs(30));
        assert_eq!(pods.image_gc.minimum_age, Duration::from_secs(60));
        assert_eq!(
            (pods.log_max_bytes, pods.log_max_files),
            (Some(5 << 20), Some(3))
        );
        for (yaml, why) in [
            ("containerLogMaxFiles: 1", "at least 2"),
            ("containerLogMaxSize: much", "is no size"),
            ("imageGCLowThresholdPercent: 90", "must be below"),
            ("evictionHard: {memory: 1Gi}", "is no signal"),
            ("shutdownGracePeriodCriticalPods: 1s", "must not be longer"),
            ("staticPodPath: pods", "must be an absolute path"),
            ("cpuManagerPolicy: greedy", "use none or static"),
            ("reservedSystemCPUs: a", "no processor or range"),
        ] {
            let refused = settle(yaml).expect_err(yaml);
            assert!(refused.contains(why), "{yaml}: {refused}");
        }
    }
}
