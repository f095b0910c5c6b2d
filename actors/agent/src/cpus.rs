//! Processors that containers have to themselves: who has which is kept in a file, so that a
//! daemon that comes back knows it, and what others share is written to their cgroups as soon as
//! it changes.
//!
//! Who talks to it: pods that come, whose containers are made, and that go.

use crate::config::{AgentConfig, Reserved};
use crate::pod::shim_container;
use crate::services::Services;
use k8s_openapi::api::core::v1::Pod;
use kabuki_lifecycle::Instance;
use kabuki_lifecycle::cpus::{CpuError, CpuPool, CpuSet, CpuState, Place, Topology};
use kabuki_runtime::Resources;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the kernel tells of processors.
const SYSTEM: &str = "/sys/devices/system/cpu";

/// Why a node cannot give processors away.
#[derive(Debug, thiserror::Error)]
pub enum CpusError {
    /// It keeps none for itself.
    #[error(
        "the static policy requires systemReserved.cpu + kubeReserved.cpu, or reservedSystemCPUs, \
         to be greater than zero"
    )]
    NothingReserved,
    /// It is to keep some that it does not have.
    #[error("reservedSystemCPUs {reserved}: this machine has {has}")]
    NotThere {
        /// What it is to keep.
        reserved: CpuSet,
        /// What there is.
        has: CpuSet,
    },
    /// What was written down cannot be gone on with.
    #[error("{}: {why}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The processors of a node; without the static policy everybody shares all of them.
pub(crate) struct Cpus {
    given: Option<Given>,
    /// Held while the shared ones are written to cgroups.
    sharing: tokio::sync::Mutex<()>,
}

struct Given {
    pool: Mutex<CpuPool>,
    file: PathBuf,
}

impl Cpus {
    /// Reads the machine and the file.
    ///
    /// # Errors
    /// When settings, machine and file do not go together.
    pub fn open(config: &AgentConfig, file: PathBuf) -> Result<Self, CpusError> {
        let given = match &config.exclusive_cpus {
            true => Some(Given::open(config, file)?),
            false => None,
        };
        Ok(Self {
            given,
            sharing: tokio::sync::Mutex::default(),
        })
    }

    /// Whether containers can have processors to themselves.
    pub fn is_static(&self) -> bool {
        self.given.is_some()
    }

    /// Gives a new pod what it is to have. Says whether others have less for it.
    pub fn admit(&self, uid: &str, pod: &Pod) -> Result<bool, CpuError> {
        let Some(given) = &self.given else {
            return Ok(false);
        };
        let mut pool = given.pool();
        let before = pool.clone();
        let changed = pool.admit(uid, pod)?;
        if changed && let Err(why) = given.save(&pool) {
            *pool = before;
            return Err(CpuError::BadState(why));
        }
        Ok(changed)
    }

    /// Takes back what a pod had. Says whether others have more for it.
    pub fn release(&self, uid: &str) -> bool {
        self.change(|pool| pool.release(uid))
    }

    /// Takes back what pods had that are no more.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) -> bool {
        self.change(|pool| pool.retain(exists))
    }

    fn change(&self, change: impl FnOnce(&mut CpuPool) -> bool) -> bool {
        let Some(given) = &self.given else {
            return false;
        };
        let mut pool = given.pool();
        let changed = change(&mut pool);
        if changed && let Err(error) = given.save(&pool) {
            // The next change writes it again; a restart until then finds too much given away.
            tracing::error!(error, "who has which processors was not written down");
        }
        changed
    }

    /// What a container may run on, in the kernel's words; `None` when nobody minds.
    pub fn of(&self, uid: &str, container: &str) -> Option<String> {
        let pool = self.given.as_ref()?.pool();
        Some(pool.of(uid, container).to_string())
    }

    /// Has all containers that share run on what is shared now.
    pub async fn share(&self, services: &Services) {
        let _one_at_a_time = self.sharing.lock().await;
        let Some(given) = &self.given else {
            return;
        };
        for entry in services.pods.all() {
            let (Some(shim), Some(state)) = (entry.shim(), entry.state()) else {
                continue;
            };
            for container in state.containers.iter().filter(|c| c.is_live()) {
                let cpus = {
                    let pool = given.pool();
                    let own = pool.is_exclusive(&entry.uid, &container.name);
                    (!own).then(|| pool.shared().to_string())
                };
                let Some(cpus) = cpus else { continue };
                let instance = Instance {
                    container: container.name.clone(),
                    attempt: container.attempt.unwrap_or(0),
                };
                // One that is only being made is looked at again when it is there.
                if let Err(error) = shim.update(&shim_container(&instance), of_set(cpus)).await {
                    tracing::debug!(pod.uid = entry.uid, %error, "processors not shared");
                }
            }
        }
    }
}

/// Begins to have all containers that share run on what is shared now.
pub(crate) fn share(services: &Arc<Services>) {
    let services = services.clone();
    tokio::spawn(async move { services.cpus.share(&services).await });
}

/// Only the processors, and nothing else.
pub(crate) fn of_set(cpus: String) -> Resources {
    Resources {
        cpuset_cpus: Some(cpus),
        ..Resources::default()
    }
}

impl Given {
    fn open(config: &AgentConfig, file: PathBuf) -> Result<Self, CpusError> {
        let topology = topology(Path::new(SYSTEM));
        let reserved = match &config.reserved_cpus {
            Some(reserved) => reserved.clone(),
            None => topology.first(reserved_count(&config.reserved)),
        };
        let has = topology.all();
        if reserved.is_empty() {
            return Err(CpusError::NothingReserved);
        }
        if !reserved.is_subset(&has) {
            return Err(CpusError::NotThere { reserved, has });
        }
        let bad = |why: String| CpusError::State {
            path: file.clone(),
            why,
        };
        let pool = match fs::read(&file) {
            Ok(text) => {
                let state = serde_json::from_slice::<CpuState>(&text);
                let state = state.map_err(|e| {
                    bad(format!(
                        "{e}: drain the node, then remove the file and start again"
                    ))
                })?;
                let pool = CpuPool::resume(topology, reserved, state);
                pool.map_err(|e| bad(e.to_string()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                CpuPool::new(topology, reserved)
            }
            Err(error) => return Err(bad(error.to_string())),
        };
        let given = Self {
            pool: Mutex::new(pool.clone()),
            file: file.clone(),
        };
        given.save(&pool).map_err(bad)?;
        Ok(given)
    }

    fn pool(&self) -> MutexGuard<'_, CpuPool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the file as a whole.
    fn save(&self, pool: &CpuPool) -> Result<(), String> {
        let new = self.file.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&new)?;
            let text = serde_json::to_vec(pool.state()).map_err(io::Error::other)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &self.file)
        };
        write().map_err(|e: io::Error| format!("cannot write {}: {e}", self.file.display()))
    }
}

/// How many whole processors are kept for the system.
fn reserved_count(reserved: &[Reserved]) -> usize {
    let milli: i64 = reserved.iter().map(|r| r.cpu_milli).sum();
    usize::try_from(milli.saturating_add(999) / 1000).unwrap_or(0)
}

/// The processors that are in use, and where they are. What cannot be read is a core of its own.
fn topology(dir: &Path) -> Topology {
    let text = |path: PathBuf| fs::read_to_string(path).ok();
    let online = text(dir.join("online")).and_then(|t| t.parse::<CpuSet>().ok());
    let places = online.unwrap_or_default();
    let places: Vec<(u32, Place)> = places
        .iter()
        .map(|cpu| {
            let place = dir.join(format!("cpu{cpu}/topology"));
            let number = |name: &str| text(place.join(name))?.trim().parse::<u32>().ok();
            let socket = number("physical_package_id").unwrap_or(0);
            let core = number("core_id").unwrap_or(cpu);
            (cpu, Place { socket, core })
        })
        .collect();
    Topology::new(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read_as_the_kernel_tells_of_it() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("online"), "0-2\n").expect("written");
        for (cpu, core) in [(0, "0\n"), (1, "1\n"), (2, "0\n")] {
            let place = dir.path().join(format!("cpu{cpu}/topology"));
            fs::create_dir_all(&place).expect("made");
            fs::write(place.join("core_id"), core).expect("written");
            fs::write(place.join("physical_package_id"), "0\n").expect("written");
        }
        let place = |core| Place { socket: 0, core };
        let expected = Topology::new([(0, place(0)), (1, place(1)), (2, place(0))]);
        assert_eq!(topology(dir.path()), expected);
        assert!(topology(&dir.path().join("none")).all().is_empty());
    }

    #[test]
    fn parts_of_processors_are_kept_whole() {
        let of = |cpu_milli| Reserved {
            cpu_milli,
            ..Reserved::default()
        };
        assert_eq!(reserved_count(&[of(500), of(600)]), 2);
        assert_eq!(reserved_count(&[of(0)]), 0);
    }
}
