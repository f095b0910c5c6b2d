//! Hooks of containers (Kubernetes, "Container Lifecycle Hooks").

use super::PodMessage;
use super::actor::{LifeState, described};
use super::effects::run;
use crate::probe::{Action, Around};
use kabuki_lifecycle::{Fact, HookKind, containers};
use ractor::ActorRef;

/// Runs a hook in a task of its own. The pod's state is stored before, so that whoever adopts the
/// pod knows that it was begun. A command is then waited for; a request is sent and a sleep begun
/// once more (Kubernetes: hooks are delivered at least once).
pub(super) fn begin(
    around: Around,
    hook: HookKind,
    state: &mut LifeState,
    myself: &ActorRef<PodMessage>,
) {
    let instance = around.instance.clone();
    let told = move |failed| Fact::HookEnded {
        instance,
        hook,
        failed,
    };
    let panicked = told.clone()(true);
    let bytes = state.machine.as_ref().map(|m| m.state().to_bytes());
    let key = around.instance.clone();
    let work = async move {
        if let (Some(bytes), Some(shim)) = (bytes, around.entry.shim()) {
            // A shim that is gone says so in another way.
            let _ = shim.set_agent_state(bytes).await;
        }
        let done = perform(&around, hook).await;
        if let Err(why) = &done {
            let name = described(&around.entry, &around.instance);
            tracing::warn!(container.name = name, ?hook, why, "hook failed");
        }
        told(done.is_err())
    };
    let task = run(state, myself, panicked, work);
    state.hooks.entry(key).or_default().push(task);
}

async fn perform(around: &Around, hook: HookKind) -> Result<(), String> {
    let pod = around.entry.pod();
    let found = containers::container(&pod, &around.instance.container);
    let (_, container) = found.ok_or_else(|| "it is not in the manifest".to_string())?;
    let handlers = container.lifecycle.as_ref();
    let handler = handlers.and_then(|l| match hook {
        HookKind::PostStart => l.post_start.as_ref(),
        HookKind::PreStop => l.pre_stop.as_ref(),
    });
    let Some(handler) = handler else {
        return Ok(());
    };
    let ip = around.entry.state().and_then(|s| s.ips.first().cloned());
    let action = Action::of_hook(handler, &container, &ip.unwrap_or_default());
    let name = match hook {
        HookKind::PostStart => "postStart",
        HookKind::PreStop => "preStop",
    };
    action.run(around, name).await
}
