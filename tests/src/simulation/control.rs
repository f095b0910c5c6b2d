//! The shell around the controllers' cores: watches fill a queue of keys, and for each key the
//! core is asked on the newest state and its actions are performed one after the other.

use super::calls::{Caller, Outcome};
use super::watching::{Followed, Watcher};
use super::world::{Happening, World};
use jiff::Timestamp;
use kabuki_kit::{QueueConfig, WorkQueue};
use kabuki_model::event::{Correlator, EventRecord};
use kabuki_model::identity::Identity;
use kabuki_model::request::Request;
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_reconcile::{Action, Reconciler};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Keys that one controller works on at once.
const MAX_IN_PROCESS: usize = 32;

pub(super) struct Controller {
    pub core: Arc<dyn Reconciler>,
    pub queue: WorkQueue<ObjectKey, Duration>,
    events: Correlator,
    /// How often it was started.
    life: u64,
    is_up: bool,
    /// When it looks at its queue next.
    wake_at: Option<Duration>,
}

/// A controller's work on one key.
pub(super) struct Task {
    pub controller: usize,
    life: u64,
    pub key: ObjectKey,
    actions: VecDeque<Action>,
    again_at: Option<Timestamp>,
    /// Why it failed; then only what is to be said of that is left to do.
    failure: Option<StatusError>,
}

impl World {
    pub fn begin_controllers(&mut self) {
        if self.controllers.is_empty() {
            for core in kabuki_reconcile::all() {
                self.controllers.push(Controller {
                    core,
                    queue: queue(),
                    events: Correlator::new("simulation"),
                    life: 0,
                    is_up: false,
                    wake_at: None,
                });
            }
        }
        for index in 0..self.controllers.len() {
            self.begin_controller(index);
        }
    }

    fn begin_controller(&mut self, index: usize) {
        let controller = &mut self.controllers[index];
        controller.life += 1;
        controller.is_up = true;
        controller.wake_at = None;
        controller.queue = queue();
        controller.events = Correlator::new("simulation");
        for resource in controller.core.watches() {
            let fields = self.controllers[index].core.selects(&resource);
            self.follow(Watcher::Controller { index }, resource, &fields);
        }
    }

    pub fn end_controllers(&mut self) {
        for index in 0..self.controllers.len() {
            self.end_controller(index);
        }
    }

    fn end_controller(&mut self, index: usize) {
        self.controllers[index].is_up = false;
        self.controllers[index].queue = queue();
        self.tasks.retain(|_, task| task.controller != index);
        self.unfollow(&Watcher::Controller { index });
    }

    /// A controller dies and is started again by its supervisor; what it had asked for already
    /// is still on its way.
    pub fn crash_controller(&mut self) {
        let index = self.random.below(self.controllers.len());
        let name = self.controllers[index].core.name();
        self.say(format_args!("{name} crashes"));
        self.end_controller(index);
        self.begin_controller(index);
    }

    pub fn controller_told(&mut self, index: usize, changes: Vec<Followed>) {
        let view = self.server.view();
        let controller = &mut self.controllers[index];
        for change in changes {
            let previous = change.previous.as_deref();
            for key in controller
                .core
                .keys(&view, &change.object, previous, change.removed)
            {
                controller.queue.add(key);
            }
        }
        self.work(index);
    }

    pub fn controller_relisted(&mut self, index: usize, resource: &Resource) {
        let view = self.server.view();
        let controller = &mut self.controllers[index];
        for key in controller.core.relisted(&view, resource) {
            controller.queue.add(key);
        }
        self.work(index);
    }

    pub fn wake(&mut self, index: usize, life: u64) {
        let controller = &mut self.controllers[index];
        if controller.is_up && controller.life == life {
            controller.wake_at = None;
            self.work(index);
        }
    }

    fn work(&mut self, index: usize) {
        let now = self.now;
        loop {
            let controller = &mut self.controllers[index];
            if controller.queue.in_process() >= MAX_IN_PROCESS {
                break;
            }
            let Some(key) = controller.queue.next(now) else {
                break;
            };
            let task = Task {
                controller: index,
                life: controller.life,
                key,
                actions: VecDeque::new(),
                again_at: None,
                failure: None,
            };
            let id = self.fresh();
            self.tasks.insert(id, task);
            let delay = self.random.micros(10, 400);
            self.after(delay, Happening::Reconcile { task: id });
        }
        let controller = &mut self.controllers[index];
        let sooner = |at: &Duration| *at > now && controller.wake_at.is_none_or(|w| *at < w);
        if let Some(at) = controller.queue.next_wakeup(now).filter(sooner) {
            controller.wake_at = Some(at);
            let life = controller.life;
            self.after(at - now, Happening::Wake { index, life });
        }
    }

    pub fn reconcile(&mut self, id: u64) {
        let Some(task) = self.tasks.get(&id) else {
            return;
        };
        let core = self.controllers[task.controller].core.clone();
        let (key, view, now) = (task.key.clone(), self.server.view(), self.time());
        let mut outcome = core.reconcile(&view, &key, now);
        if let Some(bug) = self.bug {
            bug.break_outcome(core.name(), &view, &key, &mut outcome, &mut self.random);
        }
        let count = outcome.actions.len();
        self.say(format_args!(
            "{} on {key} at {}: {count} actions",
            core.name(),
            view_revision(&view)
        ));
        self.audit_decision(core.name(), &view, &key, &outcome);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.actions = outcome.actions.into();
            task.again_at = outcome.again_at;
        }
        self.go_on(id);
    }

    /// Performs the next action of a task.
    fn go_on(&mut self, id: u64) {
        while let Some(task) = self.tasks.get_mut(&id) {
            let index = task.controller;
            match task.actions.pop_front() {
                None => return self.finish(id),
                Some(Action::Event(record)) => self.record(index, record),
                Some(Action::Request(request)) => {
                    let who = Identity::controller(self.controllers[index].core.name());
                    return self.call(Caller::Task(id), who, request);
                }
            }
        }
    }

    pub fn task_answered(&mut self, id: u64, request: &Request, outcome: Outcome) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        match outcome {
            Err(error) if Some(error.reason) != settled_by(request) => {
                if task.failure.is_some() {
                    return self.finish(id);
                }
                let core = self.controllers[task.controller].core.clone();
                let (key, view) = (task.key.clone(), self.server.view());
                let said = core.refused(&view, &key, request, &error, self.time());
                if let Some(task) = self.tasks.get_mut(&id) {
                    task.failure = Some(error);
                    task.actions = said.actions.into();
                }
            }
            _ => {}
        }
        self.go_on(id);
    }

    fn finish(&mut self, id: u64) {
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        let (now, wait) = (self.now, task.again_at.map(|at| self.until(at)));
        let controller = &mut self.controllers[task.controller];
        if controller.life != task.life {
            return;
        }
        match task.failure {
            Some(_) => drop(controller.queue.retry(&task.key, now)),
            None => {
                controller.queue.done(&task.key);
                if let Some(wait) = wait {
                    controller.queue.add_after(task.key, now, wait);
                }
            }
        }
        self.work(task.controller);
    }

    fn record(&mut self, index: usize, mut record: EventRecord) {
        if !self.faults.events {
            return;
        }
        let (now, entropy) = (self.time(), self.random.next());
        let controller = &mut self.controllers[index];
        if record.component.is_empty() {
            record.component = controller.core.name().to_string();
        }
        if let Some(request) = controller.events.record(&record, now, entropy) {
            self.call(Caller::Nobody, Identity::controller("events"), request);
        }
    }
}

fn view_revision(view: &kabuki_store::Snapshot) -> u64 {
    kabuki_model::view::View::revision(view)
}

fn queue() -> WorkQueue<ObjectKey, Duration> {
    WorkQueue::new(QueueConfig {
        retry_initial: Duration::from_millis(5),
        retry_max: Duration::from_secs(60),
        rate: None,
    })
}

/// The refusal that means that what was asked for is already so.
fn settled_by(request: &Request) -> Option<Reason> {
    match request {
        Request::Delete { .. } => Some(Reason::NotFound),
        Request::Create { .. } => Some(Reason::AlreadyExists),
        _ => None,
    }
}
