//! The control plane as one child of the node's tree.
//!
//! ```text
//! plane (rest-for-one)
//! ├── raft-group (one-for-all)     wal, watch, raft
//! ├── gateway
//! ├── events
//! ├── controllers (one-for-one)    one child per core in `kabuki_reconcile`
//! └── scheduler
//! ```
//!
//! Rest-for-one: what stands on the state starts anew when the state did.

use crate::controller::controller_child;
use crate::events::EventSink;
use crate::gateway::GatewayHandle;
use crate::raft_group::{RaftGroup, RaftGroupArgs};
use crate::scheduler::scheduler_child;
use kabuki_kit::{ChildSpec, Strategy, SupervisorSpec};
use std::path::Path;
use std::time::Duration;

/// The control plane of one server.
pub struct Plane {
    args: RaftGroupArgs,
    group: RaftGroup,
    gateway: GatewayHandle,
    events: EventSink,
}

impl Plane {
    /// A control plane that keeps its state under `data_dir`. Nothing runs before its child does.
    pub fn new(data_dir: &Path) -> Self {
        let args = RaftGroupArgs::single(&data_dir.join("state"));
        let group = RaftGroup::new(&args);
        let gateway = GatewayHandle::new(group.raft.clone(), group.watch.clone());
        let events = EventSink::default();
        Self {
            args,
            group,
            gateway,
            events,
        }
    }

    /// The door to the state.
    pub fn gateway(&self) -> &GatewayHandle {
        &self.gateway
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let (args, group) = (self.args.clone(), self.group.clone());
        let (gateway, events) = (self.gateway.clone(), self.events.clone());
        let child = ChildSpec::supervisor("plane", move |_place| {
            let (gateway_of_controllers, events_of_controllers) = (gateway.clone(), events.clone());
            SupervisorSpec::new(Strategy::RestForOne)
                .intensity(16, Duration::from_secs(30))
                .child(group.child(args.clone()))
                .child(gateway.child())
                .child(events.child(&gateway))
                .child(ChildSpec::supervisor("controllers", move |_place| {
                    controllers(&gateway_of_controllers, &events_of_controllers)
                }))
                .child(scheduler_child(&gateway, &events))
        });
        // Opening a large state is slow, and nothing else can start before it.
        child.start_timeout(Duration::from_secs(600))
    }
}

fn controllers(gateway: &GatewayHandle, events: &EventSink) -> SupervisorSpec {
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .intensity(32, Duration::from_secs(30))
        .backoff(Duration::from_millis(10), Duration::from_secs(10));
    kabuki_reconcile::all()
        .into_iter()
        .fold(spec, |spec, core| {
            spec.child(controller_child(core, gateway, events))
        })
}
