//! Watches of single objects, shared by all pods of the node that name them.
//!
//! Who wants to follow an object holds its [`Watched`]; the watch ends with the last holder. An
//! immutable object cannot change, so its watch ends as soon as it was seen.
//!
//! Who talks to it: the tasks that keep pods' volumes up to date.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kabuki_model::request::ListRequest;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_model::{ObjectKey, Resource, Stored};
use kabuki_protocol::{ApiHandle, Watch};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A watch that ended or was refused is begun again after this time, later ones after longer.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What is known of an object.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// Nothing yet.
    Nothing,
    /// There is none.
    Absent,
    /// It is like this.
    Present(Arc<Stored>),
}

/// One object that somebody follows.
pub(crate) struct Watched {
    pub key: ObjectKey,
    known: Arc<watch::Sender<Known>>,
    /// Ends with the last holder.
    _task: JoinSet<()>,
}

impl Watched {
    /// What is known of it now, and whoever wants to wait for more.
    pub fn subscribe(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// What is known of it now.
    pub fn known(&self) -> Known {
        self.known.borrow().clone()
    }
}

/// The objects that pods of this node follow.
#[derive(Clone)]
pub(crate) struct Objects {
    api: ApiHandle,
    held: Arc<Mutex<HashMap<ObjectKey, Weak<Watched>>>>,
}

impl Objects {
    pub fn new(api: ApiHandle) -> Self {
        Self {
            api,
            held: Arc::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<ObjectKey, Weak<Watched>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows an object; must be called within the runtime.
    pub fn follow(&self, key: &ObjectKey) -> Arc<Watched> {
        let mut held = self.held();
        if let Some(watched) = held.get(key).and_then(Weak::upgrade) {
            return watched;
        }
        held.retain(|_, watched| watched.strong_count() > 0);
        let known = Arc::new(watch::channel(Known::Nothing).0);
        let mut task = JoinSet::new();
        task.spawn(run(self.api.clone(), key.clone(), known.clone()));
        let watched = Arc::new(Watched {
            key: key.clone(),
            known,
            _task: task,
        });
        held.insert(key.clone(), Arc::downgrade(&watched));
        watched
    }
}

async fn run(api: ApiHandle, key: ObjectKey, known: Arc<watch::Sender<Known>>) {
    let mut wait = RETRY_FIRST;
    loop {
        let mut selection = ListRequest::all(key.resource.clone(), Some(&key.namespace));
        selection.fields = format!("metadata.name={}", key.name);
        let request = WatchRequest {
            selection,
            start: WatchStart::List,
            bookmarks: true,
        };
        match api.watch(request).await {
            Ok(watch) => {
                wait = RETRY_FIRST;
                follow(watch, &known).await;
                if is_immutable(&known.borrow()) {
                    return;
                }
            }
            Err(error) => tracing::debug!(object.key = %key, %error, "cannot be watched yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Reads one watch to its end, or to an object that cannot change any more.
async fn follow(mut watch: Watch, known: &watch::Sender<Known>) {
    let mut is_there = false;
    while let Some(event) = watch.next().await {
        let now = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                is_there = true;
                Known::Present(object)
            }
            Ok(WatchEvent::Deleted(_)) => {
                is_there = false;
                Known::Absent
            }
            // The list is complete, and the object was not in it.
            Ok(WatchEvent::Bookmark {
                initial_end: true, ..
            }) if !is_there => Known::Absent,
            Ok(WatchEvent::Bookmark { .. }) => continue,
            Err(error) => {
                tracing::debug!(%error, "the watch of an object ended");
                return;
            }
        };
        let done = is_immutable(&now);
        known.send_replace(now);
        if done {
            return;
        }
    }
}

fn is_immutable(known: &Known) -> bool {
    let Known::Present(object) = known else {
        return false;
    };
    let immutable = match &object.key.resource {
        r if *r == Resource::CONFIG_MAPS => object.typed::<ConfigMap>().map(|c| c.immutable),
        _ => object.typed::<Secret>().map(|s| s.immutable),
    };
    immutable.is_ok_and(|flag| flag == Some(true))
}
