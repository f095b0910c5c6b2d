//! How the node is set up, under the names of kubelet's configuration (`configz`): only what this
//! agent acts on is there.

use crate::config::{AgentConfig, Reserved};
use crate::{lease, node};
use kabuki_lifecycle::eviction::{Amount, Signal};
use kabuki_model::{Quantity, duration};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The settings as JSON.
pub(super) fn shown(config: &AgentConfig) -> Value {
    let eviction = &config.eviction;
    let soft = |(signal, (amount, _)): (&Signal, &(Amount, _))| (*signal, *amount);
    let grace = eviction.soft.iter().map(|(signal, (_, grace))| {
        let grace = length(Duration::try_from(*grace).unwrap_or_default());
        (signal.name().to_string(), Value::from(grace))
    });
    let transition = Duration::try_from(eviction.transition).unwrap_or_default();
    let (all, critical) = config.shutdown.unwrap_or_default();
    let policy = match config.exclusive_cpus {
        true => "static",
        false => "none",
    };
    let mut shown = json!({
        "enableServer": true,
        "nodeStatusUpdateFrequency": length(node::LOOK_EVERY),
        "nodeStatusReportFrequency": length(node::REPORT_EVERY),
        "nodeLeaseDurationSeconds": lease::DURATION_S,
        "imageMinimumGCAge": length(config.image_gc.minimum_age),
        "imageGCHighThresholdPercent": config.image_gc.high_percent,
        "imageGCLowThresholdPercent": config.image_gc.low_percent,
        "containerLogMaxSize": bytes(config.log_max_bytes),
        "containerLogMaxFiles": config.log_max_files,
        "cpuManagerPolicy": policy,
        "maxPods": config.max_pods,
        "podCIDR": config.pod_cidr.to_string(),
        "clusterDomain": config.cluster_domain,
        "clusterDNS": config.cluster_dns,
        "evictionHard": amounts(&eviction.hard),
        "evictionSoft": amounts(&eviction.soft.iter().map(soft).collect()),
        "evictionSoftGracePeriod": grace.collect::<Map<_, _>>(),
        "evictionMinimumReclaim": amounts(&eviction.minimum_reclaim),
        "evictionMaxPodGracePeriod": eviction.max_pod_grace_s,
        "evictionPressureTransitionPeriod": length(transition),
        "allowedUnsafeSysctls": config.unsafe_sysctls,
        "shutdownGracePeriod": length(all),
        "shutdownGracePeriodCriticalPods": length(critical),
        "registerWithTaints": config.taints,
    });
    let reserved = ["systemReserved", "kubeReserved"];
    for (field, kept) in reserved.into_iter().zip(&config.reserved) {
        shown[field] = resources(kept);
    }
    if let Some(port) = config.node_port {
        shown["port"] = port.into();
    }
    if let Some(cpus) = &config.reserved_cpus {
        shown["reservedSystemCPUs"] = cpus.to_string().into();
    }
    if let Some(folder) = &config.static_pods {
        shown["staticPodPath"] = folder.to_string_lossy().into();
    }
    json!({ "kubeletconfig": shown })
}

fn amounts(of: &BTreeMap<Signal, Amount>) -> Value {
    let shown = of
        .iter()
        .map(|(signal, amount)| (signal.name().to_string(), amount.to_string().into()));
    Value::Object(shown.collect())
}

fn resources(kept: &Reserved) -> Value {
    let mut shown = json!({});
    if kept.cpu_milli > 0 {
        shown["cpu"] = Quantity::from_milli(kept.cpu_milli).to_string().into();
    }
    for (name, amount) in [
        ("memory", kept.memory),
        ("ephemeral-storage", kept.ephemeral_storage),
    ] {
        if amount > 0 {
            shown[name] = Quantity::from_bytes(amount).to_string().into();
        }
    }
    shown
}

fn bytes(amount: u64) -> String {
    Quantity::from_bytes(i64::try_from(amount).unwrap_or(i64::MAX)).to_string()
}

fn length(length: Duration) -> String {
    duration::print(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_from_pods_is_shown() {
        let kept = Reserved {
            cpu_milli: 1500,
            memory: 1 << 30,
            ephemeral_storage: 0,
        };
        assert_eq!(resources(&kept), json!({"cpu": "1500m", "memory": "1Gi"}));
        let hard = BTreeMap::from([
            (Signal::MemoryAvailable, Amount::Of(100 << 20)),
            (Signal::NodeFsAvailable, Amount::Percent(10.0)),
        ]);
        let shown = json!({"memory.available": "100Mi", "nodefs.available": "10%"});
        assert_eq!(amounts(&hard), shown);
    }
}
