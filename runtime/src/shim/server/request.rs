//! Each request, and the part of the shim that answers it.

use std::os::fd::OwnedFd;

use super::{Outcome, Shim, pod};
use crate::shim::wire::{Answer, Call};
use crate::spec::ShimStatus;

impl Shim {
    pub(super) fn answer(&mut self, token: u64, call: Call) -> Outcome<(Answer, Vec<OwnedFd>)> {
        let answer = match call {
            Call::Exec(spec) => return self.exec(token, &spec),
            Call::Attach(spec) => return self.attach(&spec),
            Call::Setup(spec) => Answer::Warnings(self.setup(spec)?),
            Call::Status => Answer::Status(Box::new(self.status())),
            Call::SetAgentState(state) => {
                self.agent_state = state;
                Answer::Done
            }
            Call::Mount(mount) => {
                pod::mount_tmpfs(&mount)?;
                Answer::Done
            }
            Call::Unmount(path) => {
                pod::unmount(&path)?;
                Answer::Done
            }
            Call::Create(spec) => {
                let (pid, warnings) = self.create(*spec)?;
                Answer::Created { pid, warnings }
            }
            Call::Start(id) => Answer::Started {
                started_at_ns: self.start(&id)?,
            },
            Call::Signal {
                target,
                signal,
                all,
            } => {
                self.signal(&target, signal, all)?;
                Answer::Done
            }
            Call::Delete(id) => {
                self.delete(&id)?;
                Answer::Done
            }
            Call::Update {
                container,
                resources,
            } => Answer::Warnings(self.update(&container, resources)?),
            Call::UpdatePod(resources) => Answer::Warnings(self.update_pod(resources)?),
            Call::Stats => self.stats()?,
            Call::Shutdown => {
                self.shutdown()?;
                Answer::Done
            }
        };
        Ok((answer, Vec::new()))
    }

    fn status(&self) -> ShimStatus {
        ShimStatus {
            pid: std::process::id() as i32,
            pod: self.pod.as_ref().map(|pod| pod.spec.clone()),
            containers: self
                .containers
                .iter()
                .map(super::Container::status)
                .collect(),
            agent_state: self.agent_state.clone(),
            log_bytes_lost: self.log_bytes_lost,
        }
    }
}
