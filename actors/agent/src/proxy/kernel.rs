//! What the proxy's thread does: plans, and one transaction for each batch.

use super::health::Health;
use super::ports::PodPorts;
use super::stale::Stale;
use crate::directory::{Changes, DirectoryHandle};
use kabuki_model::service::{Known, ServiceEntry, ServiceKey, SliceRecord};
use kabuki_net::plan::services::{
    Delta, NodeView, Owner, PortPlan, Primary, Services, service_health, service_plan,
};
use kabuki_net::{NetError, ServiceTable, ServiceTrace, UdpFronts};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What is to be done.
pub(super) enum Task {
    Services {
        changes: Changes,
        ports: PodPorts,
    },
    Ports(PodPorts),
    Zone {
        zone: Option<Arc<str>>,
        ports: PodPorts,
    },
}

/// What came of it.
pub(super) struct Done {
    /// What load balancers are to be told.
    pub health: Vec<Health>,
    /// Whether the kernel has all it should, and nothing else.
    pub sure: bool,
    /// Whether more is known soon, by itself.
    pub again: bool,
}

/// The thread's state.
pub(super) struct Kernel {
    table: ServiceTable,
    stale: Stale,
    directory: DirectoryHandle,
    view: NodeView,
    services: Services,
    health: BTreeMap<ServiceKey, Health>,
    known: Known,
}

impl Kernel {
    pub fn new(
        table: ServiceTable,
        stale: Stale,
        directory: DirectoryHandle,
        view: NodeView,
    ) -> Self {
        Self {
            table,
            stale,
            directory,
            view,
            services: Services::default(),
            health: BTreeMap::new(),
            known: Known::Parts,
        }
    }

    pub fn port(&self) -> u32 {
        self.table.port()
    }

    /// Performs a task. When the kernel's state is in doubt, all of it is looked at.
    pub fn perform(&mut self, task: Task, unsure: bool, own: &[IpAddr]) -> Result<Done, String> {
        let (ports, changes) = match task {
            Task::Ports(ports) => (ports, None),
            Task::Services { changes, ports } => (ports, Some(changes)),
            Task::Zone { zone, ports } => {
                self.view.zone = zone;
                if self.known == Known::Parts {
                    // The services that are to come are planned with it.
                    return Ok(self.done(true, false));
                }
                let all = Changes {
                    all: true,
                    known: self.known,
                    ..Changes::default()
                };
                (ports, Some(all))
            }
        };
        let first = self.known == Known::Parts;
        let known = match &changes {
            Some(changes) => changes.known,
            // After a crash of this thread, nobody tells again what was told.
            None if first => self.directory.read().known(),
            None => self.known,
        };
        let mut changes = match changes {
            _ if first && known != Known::Parts => {
                let found = self.table.found().map_err(in_words)?;
                self.services.adopt(&found);
                self.changed(&Changes {
                    all: true,
                    ..Changes::default()
                })
            }
            Some(changes) => self.changed(&changes),
            None => Vec::new(),
        };
        self.known = known;
        let complete = ports.complete;
        if complete {
            changes.extend(self.ports(ports.plans));
        }
        let owners: Vec<Owner> = changes.iter().map(|(owner, _)| owner.clone()).collect();
        let delta = self.services.update(changes);
        if first {
            self.services.forget_adopted();
        }
        if self.known == Known::Parts {
            return Ok(self.done(true, false));
        }
        let whole = complete && self.known == Known::All;
        let written = self.write(&delta, unsure || first, whole);
        if let Err(error) = written {
            return Err(in_words(error));
        }
        self.forget_stale(&delta, &owners, first || unsure, own);
        Ok(self.done(whole || !(unsure || first), !complete))
    }

    fn done(&self, sure: bool, again: bool) -> Done {
        Done {
            health: self.health.values().cloned().collect(),
            sure,
            again,
        }
    }

    fn write(&mut self, delta: &Delta, unsure: bool, whole: bool) -> Result<(), NetError> {
        if !unsure {
            match self.table.apply(delta, &self.services) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "a change was refused; looking at all services");
                }
            }
        }
        let amiss = self.table.rebuild(&self.services, whole)?;
        if amiss {
            tracing::info!(
                services = self.services.owners().count(),
                "services are in order"
            );
        }
        Ok(())
    }

    fn changed(&mut self, changes: &Changes) -> Vec<(Owner, Vec<PortPlan>)> {
        let directory = self.directory.clone();
        let directory = directory.read();
        if !changes.all {
            let keys = changes.keys.iter();
            return keys
                .map(|key| {
                    (
                        Owner::Service(key.clone()),
                        self.plan(key, directory.get(key)),
                    )
                })
                .collect();
        }
        let gone: Vec<ServiceKey> = self
            .services
            .owners()
            .filter_map(|owner| match owner {
                Owner::Service(key) if directory.get(key).is_none() => Some(key.clone()),
                _ => None,
            })
            .collect();
        let gone = gone.iter().map(|key| (key, None));
        let held = directory.iter().map(|(key, entry)| (key, Some(entry)));
        gone.chain(held)
            .map(|(key, entry)| (Owner::Service(key.clone()), self.plan(key, entry)))
            .collect()
    }

    fn plan(&mut self, key: &ServiceKey, entry: Option<&ServiceEntry>) -> Vec<PortPlan> {
        let service = entry.and_then(|entry| Some((entry.service.as_deref()?, &entry.slices)));
        let Some((service, slices)) = service else {
            self.health.remove(key);
            return Vec::new();
        };
        let slices: Vec<&SliceRecord> = slices.iter().map(Arc::as_ref).collect();
        match service_health(service, slices.iter().copied(), &self.view) {
            Some(check) => {
                let health = Health {
                    service: key.clone(),
                    check,
                };
                self.health.insert(key.clone(), health);
            }
            None => drop(self.health.remove(key)),
        }
        service_plan(service, slices.iter().copied(), &self.view)
    }

    /// Puts all pods' ports in place of those before.
    fn ports(&self, mut ports: BTreeMap<Owner, Vec<PortPlan>>) -> Vec<(Owner, Vec<PortPlan>)> {
        let held = self.services.owners();
        for owner in held.filter(|owner| matches!(owner, Owner::Pod(_))) {
            ports.entry(owner.clone()).or_default();
        }
        let changed = |(owner, plans): &(Owner, Vec<PortPlan>)| {
            self.services.plans(owner) != plans.as_slice()
        };
        ports.into_iter().filter(changed).collect()
    }

    /// Datagrams must not go on to endpoints that are gone.
    fn forget_stale(&mut self, delta: &Delta, owners: &[Owner], all: bool, own: &[IpAddr]) {
        let fronts = match all {
            true => Some(UdpFronts::all(&self.services)),
            false => UdpFronts::concerned(delta, owners, &self.services),
        };
        if let Some(fronts) = fronts {
            self.stale.forget(fronts, own);
        }
    }

    pub fn trace(
        &mut self,
        to: Primary,
        from: Option<Ipv4Addr>,
        own: &[IpAddr],
    ) -> Result<ServiceTrace, String> {
        self.table.trace(to, from, own).map_err(in_words)
    }
}

fn in_words(error: NetError) -> String {
    crate::pod::chain(&error)
}
