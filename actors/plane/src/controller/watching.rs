//! Following several resources at once, for as long as the owner lives: each watch begins with
//! the whole list, and begins again wherever it was lost.

use kabuki_model::request::ListRequest;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_model::{Resource, Stored};
use kabuki_protocol::ApiHandle;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What happened to an object that is followed.
#[derive(Debug)]
pub(crate) struct Followed {
    /// The object; of a removal, as it last was.
    pub object: Arc<Stored>,
    /// The object before, when it was known.
    pub previous: Option<Arc<Stored>>,
    /// Whether it is gone.
    pub removed: bool,
}

/// What a watch has told so far.
struct Known {
    objects: HashMap<Arc<str>, Arc<Stored>>,
    /// Whether there was a whole list.
    listed: bool,
}

/// How long to wait before a lost watch is begun again.
const RETRY: Duration = Duration::from_millis(100);

/// What is to be followed.
pub(crate) struct Selected {
    /// Which objects.
    pub list: ListRequest,
    /// Those that the follower knows already: it is told which of them have gone meanwhile.
    pub known: Vec<Arc<Stored>>,
}

/// Follows what is `selected` until the set is dropped; `heard` makes of each change what `sink`
/// takes, if it is of interest, and `sink` waits when it must. The latest form of every object is
/// remembered, so that a removal that happened while a watch was lost is still told. What came and
/// went meanwhile is not: `relisted` is called after each list but the first.
pub(crate) fn follow<T: Send + 'static>(
    api: &ApiHandle,
    selected: Vec<Selected>,
    sink: &mpsc::Sender<T>,
    heard: impl Fn(Followed) -> Option<T> + Clone + Send + Sync + 'static,
    relisted: impl Fn(&Resource) + Clone + Send + Sync + 'static,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for Selected { list, known } in selected {
        let (api, sink) = (api.clone(), sink.clone());
        let (heard, relisted) = (heard.clone(), relisted.clone());
        tasks.spawn(async move {
            let known = known.into_iter().map(|object| (object.uid.clone(), object));
            let mut known = Known {
                objects: known.collect(),
                listed: false,
            };
            loop {
                follow_once(&api, &list, &sink, &mut known, &heard, &relisted).await;
                if sink.is_closed() {
                    return;
                }
                tokio::time::sleep(RETRY).await;
            }
        });
    }
    tasks
}

async fn follow_once<T: Send>(
    api: &ApiHandle,
    selection: &ListRequest,
    sink: &mpsc::Sender<T>,
    known: &mut Known,
    heard: &(impl Fn(Followed) -> Option<T> + Sync),
    relisted: &(impl Fn(&Resource) + Sync),
) {
    let resource = &selection.resource;
    let request = WatchRequest {
        selection: selection.clone(),
        start: WatchStart::List,
        bookmarks: true,
    };
    let mut watch = match api.watch(request).await {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(resource = %resource, error = %error, "cannot watch");
            return;
        }
    };
    let mut stale: HashMap<Arc<str>, Arc<Stored>> = known.objects.clone();
    while let Some(event) = watch.next().await {
        let change = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                stale.remove(&object.uid);
                let previous = known.objects.insert(object.uid.clone(), object.clone());
                if previous
                    .as_ref()
                    .is_some_and(|p| p.revision == object.revision)
                {
                    continue;
                }
                vec![Followed {
                    object,
                    previous,
                    removed: false,
                }]
            }
            Ok(WatchEvent::Deleted(object)) => {
                let previous = known.objects.remove(&object.uid);
                vec![Followed {
                    object,
                    previous,
                    removed: true,
                }]
            }
            // The list is complete: what is known and was not in it has gone meanwhile.
            Ok(WatchEvent::Bookmark {
                initial_end: true, ..
            }) => {
                if std::mem::replace(&mut known.listed, true) {
                    relisted(resource);
                }
                let gone = stale.drain().map(|(uid, object)| {
                    known.objects.remove(&uid);
                    Followed {
                        previous: Some(object.clone()),
                        object,
                        removed: true,
                    }
                });
                gone.collect()
            }
            Ok(WatchEvent::Bookmark { .. }) => continue,
            Err(error) => {
                tracing::debug!(resource = %resource, error = %error, "watch was lost");
                return;
            }
        };
        for told in change.into_iter().filter_map(heard) {
            if sink.send(told).await.is_err() {
                return;
            }
        }
    }
}
