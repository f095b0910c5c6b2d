//! What every controller core implements, and what it may ask for.

use jiff::Timestamp;
use kabuki_model::event::EventRecord;
use kabuki_model::request::Request;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};

/// The core of one controller.
///
/// Contract: `reconcile` is idempotent (run twice on a state in which its first actions took
/// effect, it asks for nothing more), and it converges: repeated until it asks for nothing, it
/// leaves the actual equal to the desired as far as its kind can bring it there.
pub trait Reconciler: Send + Sync + 'static {
    /// Its name, for the actor tree, its identity and events: `deployment-controller`.
    fn name(&self) -> &'static str;

    /// The resources whose changes can give it work.
    fn watches(&self) -> Vec<Resource>;

    /// A field selector for those objects of one of them that can: a controller is not woken for
    /// the others. Empty selects all.
    fn selects(&self, _resource: &Resource) -> String {
        String::new()
    }

    /// The keys to reconcile after `object` was added, changed or removed. `view` is at least as
    /// new as the change; `previous` is the object before it, when there was one and it is still
    /// known.
    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey>;

    /// The keys to reconcile after the watch of `resource` was lost and begun again with a list.
    /// What was known before and is gone was told as removed; what came and went meanwhile is
    /// told by nobody.
    fn relisted(&self, _view: &dyn View, _resource: &Resource) -> Vec<ObjectKey> {
        Vec::new()
    }

    /// Brings the object of `key` (which may be gone) closer to what is desired.
    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome;

    /// What to say of a request that was refused: events, and conditions of the object of `key`.
    /// The key comes again in any case.
    fn refused(
        &self,
        _view: &dyn View,
        _key: &ObjectKey,
        _request: &Request,
        _error: &StatusError,
        _now: Timestamp,
    ) -> Outcome {
        Outcome::done()
    }
}

/// What a controller core wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// To be done in order; when one fails, the rest is dropped and the key comes again after a
    /// back-off.
    pub actions: Vec<Action>,
    /// When to look at the key again though nothing changes (a deadline, a minimum age).
    pub again_at: Option<Timestamp>,
}

/// One thing that a controller core wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A request under the controller's own identity. `NotFound` on a deletion and
    /// `AlreadyExists` on a creation of a fixed name count as done.
    Request(Request),
    /// Something to tell the people who look at the object.
    Event(EventRecord),
}

impl Outcome {
    /// Nothing to do, now or later.
    pub fn done() -> Self {
        Self::default()
    }

    /// Adds a request.
    pub fn request(&mut self, request: Request) {
        self.actions.push(Action::Request(request));
    }

    /// Adds an event.
    pub fn event(&mut self, record: EventRecord) {
        self.actions.push(Action::Event(record));
    }

    /// Asks to look again at `at`, or earlier when an earlier time is asked for already.
    pub fn look_again(&mut self, at: Timestamp) {
        self.again_at = Some(self.again_at.map_or(at, |known| known.min(at)));
    }
}
