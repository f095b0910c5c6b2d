//! Requests and answers on their way. Parts of the server's process reach it at once; people and
//! machines are far away: their requests and answers are late, lost, or come twice.

use super::world::{Happening, World};
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use kabuki_model::status::Reason;
use std::time::Duration;

/// How a request ended.
pub(super) type Outcome = Result<Answer, StatusError>;

/// After this time without an answer a caller gives up.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct Call {
    pub caller: Caller,
    pub who: Identity,
    pub request: Request,
    pub attempts: u32,
    /// The outcomes of independent writes.
    pub parts: Vec<Option<Outcome>>,
    has_arrived: bool,
    is_remote: bool,
}

/// Whom an answer goes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Caller {
    /// Nobody waits for it.
    Nobody,
    /// A controller's work on a key.
    Task(u64),
    /// The scheduler, about its bindings.
    Scheduler,
    /// A node that reports a pod's status.
    Report {
        node: String,
        boot: u64,
        uid: String,
        version: u64,
    },
    /// A node that lets a pod go.
    Farewell {
        node: String,
        boot: u64,
        uid: String,
    },
    /// A node that registers itself.
    Registration { node: String, boot: u64 },
    /// A writer that counts in a ConfigMap.
    Count { writer: usize },
}

impl World {
    /// A request from inside the server's process.
    pub fn call(&mut self, caller: Caller, who: Identity, request: Request) {
        let id = self.note_call(caller, who, request, false);
        let delay = self.random.micros(0, 150);
        self.after(delay, Happening::Arrive { call: id });
    }

    /// A request from another machine.
    pub fn call_remote(&mut self, caller: Caller, who: Identity, request: Request) {
        let id = self.note_call(caller, who.clone(), request.clone(), true);
        self.after(PATIENCE, Happening::GiveUp { call: id });
        // A node's reports come over one connection, in order: none overtakes the next.
        let is_report = matches!(
            self.calls.get(&id).map(|c| &c.caller),
            Some(Caller::Report { .. })
        );
        let repeats = self.faults.active && self.random.chance(self.faults.repeat_message);
        if repeats && !is_report {
            let again = self.note_call(Caller::Nobody, who, request, true);
            self.after(PATIENCE, Happening::GiveUp { call: again });
            let delay = self.message_delay();
            self.after(delay, Happening::Arrive { call: again });
        }
        if self.faults.active && self.random.chance(self.faults.lose_message) {
            return self.say(format_args!("request {id} is lost"));
        }
        let delay = self.message_delay();
        self.after(delay, Happening::Arrive { call: id });
    }

    fn note_call(
        &mut self,
        caller: Caller,
        who: Identity,
        request: Request,
        is_remote: bool,
    ) -> u64 {
        let id = self.fresh();
        self.say(format_args!("call {id} {}: {}", who.user, brief(&request)));
        let call = Call {
            caller,
            who,
            request,
            attempts: 0,
            parts: Vec::new(),
            has_arrived: false,
            is_remote,
        };
        self.calls.insert(id, call);
        id
    }

    /// Messages overtake one another: each takes its own time.
    fn message_delay(&mut self) -> Duration {
        match self.faults.active && self.random.chance(50) {
            true => self.random.millis(20, 600),
            false => self.random.millis(1, 8),
        }
    }

    pub fn arrive(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.has_arrived = true;
        if !self.server.is_up {
            return self.answer(id, Err(StatusError::unavailable("the server is down")));
        }
        self.admit(id);
    }

    /// Sends an answer on its way.
    pub fn answer(&mut self, id: u64, outcome: Outcome) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let shown = match &outcome {
            Ok(_) => "ok",
            Err(error) => &error.message,
        };
        let line = format!("call {id} ends: {shown}");
        let remote = call.is_remote;
        self.say(format_args!("{line}"));
        if remote && self.faults.active && self.random.chance(self.faults.lose_message) {
            return self.say(format_args!("answer {id} is lost"));
        }
        let delay = match remote {
            true => self.message_delay(),
            false => self.random.micros(0, 50),
        };
        let outcome = Box::new(outcome);
        self.after(delay, Happening::Answer { call: id, outcome });
    }

    /// Nothing was heard: whether the request was done is not known.
    pub fn give_up(&mut self, id: u64) {
        if self.calls.contains_key(&id) {
            let error = StatusError::new(Reason::Timeout, "no answer");
            self.deliver_answer(id, Err(error));
        }
    }

    pub fn deliver_answer(&mut self, id: u64, outcome: Outcome) {
        let Some(call) = self.calls.remove(&id) else {
            return;
        };
        match call.caller {
            Caller::Nobody => {}
            Caller::Task(task) => self.task_answered(task, &call.request, outcome),
            Caller::Scheduler => self.scheduler_answered(&call.request, outcome),
            Caller::Report {
                node,
                boot,
                uid,
                version,
            } => {
                self.report_answered(&node, boot, &uid, version, outcome);
            }
            Caller::Farewell { node, boot, uid } => {
                self.farewell_answered(&node, boot, &uid, outcome)
            }
            Caller::Registration { node, boot } => self.registration_answered(&node, boot, outcome),
            Caller::Count { writer } => self.count_answered(writer, outcome),
        }
    }

    /// A node's connection has ended: what had not arrived over it never will.
    pub fn lose_calls_of(&mut self, name: &str) {
        let user = Identity::node(name).user;
        self.calls
            .retain(|_, call| call.has_arrived || call.who.user != user);
    }

    /// The server's process has ended: what it had received will not be answered, and its own
    /// parts are gone with it.
    pub fn lose_calls_to_server(&mut self) {
        self.calls.retain(|_, call| call.is_remote);
        for call in self.calls.values_mut().filter(|c| c.has_arrived) {
            call.parts.clear();
        }
    }
}

/// A request in a few words.
fn brief(request: &Request) -> String {
    match request {
        Request::Get { key, .. } => format!("get {key}"),
        Request::List(selection) => format!("list {}", selection.resource),
        Request::Create {
            resource,
            namespace,
            object,
            ..
        } => {
            let text = String::from_utf8_lossy(object);
            format!("create {resource} in {namespace:?} {text}")
        }
        Request::Update {
            key,
            subresource,
            object,
            ..
        } => {
            format!(
                "update {key} {subresource:?} {}",
                String::from_utf8_lossy(object)
            )
        }
        Request::Patch {
            key,
            subresource,
            patch,
            ..
        } => {
            format!(
                "patch {key} {subresource:?} {}",
                String::from_utf8_lossy(patch)
            )
        }
        Request::Delete { key, options } => format!(
            "delete {key} grace {:?} policy {:?}",
            options.grace_period_s, options.propagation
        ),
        Request::DeleteCollection { selection, .. } => {
            format!(
                "delete all {} in {:?}",
                selection.resource, selection.namespace
            )
        }
        Request::Bind(bindings) => {
            let shown: Vec<String> = bindings
                .iter()
                .map(|b| format!("{} to {}", b.pod, b.node))
                .collect();
            format!("bind {}", shown.join(", "))
        }
        Request::Evict { pod, options } => {
            format!("evict {pod} grace {:?}", options.grace_period_s)
        }
        Request::Token { account, .. } | Request::TokenRequest { account, .. } => {
            format!("token of {account}")
        }
        Request::Review { kind, .. } => format!("review {kind:?}"),
    }
}
