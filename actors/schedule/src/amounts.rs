//! Amounts of resources, as whole numbers: thousandths of a core, bytes, pieces.

use kabuki_model::Quantity;
use kabuki_model::k8s_openapi::api::core::v1::{Container, PodSpec};
use kabuki_model::k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use std::collections::BTreeMap;

/// What a pod takes of a node for scoring when it does not say: a tenth of a core and 200 MiB.
const ASSUMED_CPU_MILLI: i64 = 100;
const ASSUMED_MEMORY: i64 = 200 << 20;

/// Amounts of resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Places for pods.
    pub pods: i64,
    /// All others, by name.
    pub extended: BTreeMap<String, i64>,
}

impl Amounts {
    /// Reads a map of quantities. One that cannot be read counts as nothing; validation refuses
    /// it.
    pub fn read(written: Option<&BTreeMap<String, Written>>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in written.into_iter().flatten() {
            let quantity = Quantity::try_from(quantity).unwrap_or(Quantity::ZERO);
            match name.as_str() {
                "cpu" => amounts.cpu_milli = quantity.milli_ceil(),
                "memory" => amounts.memory = quantity.value_ceil(),
                "ephemeral-storage" => amounts.ephemeral_storage = quantity.value_ceil(),
                "pods" => amounts.pods = quantity.value_ceil(),
                _ => {
                    amounts.extended.insert(name.clone(), quantity.value_ceil());
                }
            }
        }
        amounts
    }

    /// What a pod asks for: the sum of its containers, or the most that its start needs.
    pub(crate) fn of_pod(spec: &PodSpec) -> Self {
        Self::total(spec, |container| Self::read(requests(container)))
    }

    /// The same, with something for processor and memory of containers that do not say.
    pub(crate) fn of_pod_assumed(spec: &PodSpec) -> Self {
        Self::total(spec, |container| {
            let written = requests(container);
            let mut amounts = Self::read(written);
            if !written.is_some_and(|w| w.contains_key("cpu")) {
                amounts.cpu_milli = ASSUMED_CPU_MILLI;
            }
            if !written.is_some_and(|w| w.contains_key("memory")) {
                amounts.memory = ASSUMED_MEMORY;
            }
            amounts
        })
    }

    fn total(spec: &PodSpec, of: impl Fn(&Container) -> Self) -> Self {
        let mut running = Self::default();
        let mut peak = Self::default();
        for container in spec.init_containers.iter().flatten() {
            let mut at_start = running.clone();
            at_start.add(&of(container));
            peak.at_least(&at_start);
            // A container of this kind goes on beside the others.
            if container.restart_policy.as_deref() == Some("Always") {
                running = at_start;
            }
        }
        for container in &spec.containers {
            running.add(&of(container));
        }
        running.at_least(&peak);
        // What a pod asks for as a whole counts instead.
        let whole = |name| kabuki_model::kind::pod::pod_request(spec, name);
        if let Some(cpu) = whole("cpu") {
            running.cpu_milli = cpu.milli_ceil();
        }
        if let Some(memory) = whole("memory") {
            running.memory = memory.value_ceil();
        }
        running.add(&Self::read(spec.overhead.as_ref()));
        running.pods = 1;
        running
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    fn at_least(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory = with(self.memory, other.memory);
        self.ephemeral_storage = with(self.ephemeral_storage, other.ephemeral_storage);
        self.pods = with(self.pods, other.pods);
        for (name, amount) in &other.extended {
            let own = self.extended.entry(name.clone()).or_default();
            *own = with(*own, *amount);
        }
    }

    /// Whether it asks for nothing but a place.
    pub(crate) fn is_place_only(&self) -> bool {
        self.cpu_milli == 0
            && self.memory == 0
            && self.ephemeral_storage == 0
            && self.extended.values().all(|n| *n == 0)
    }
}

fn requests(container: &Container) -> Option<&BTreeMap<String, Written>> {
    container.resources.as_ref()?.requests.as_ref()
}
