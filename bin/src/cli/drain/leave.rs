//! Has pods leave, and waits until they are gone.

use super::DrainArgs;
use super::filter::is_long_gone;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::printer::DryRun;
use crate::cli::resolver::Found;
use crate::cli::session::Session;
use crate::cli::waiting::Limit;
use futures::future::join_all;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::object::{Resource, Stored};
use kabuki_model::request::{DeleteOptions, ListRequest, Request};
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchStart};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An eviction that a disruption budget does not allow now is asked for again after this time.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether there still is somebody to wait for.
const LOOK: Duration = Duration::from_secs(1);

/// How the pods of a node leave.
pub(super) struct Leaving<'a> {
    pub session: &'a Session,
    pub args: &'a DrainArgs,
    pub limit: Limit,
    /// What `limit` was made from.
    pub timeout: Duration,
}

impl Leaving<'_> {
    /// Has all of them leave the node. Those that can are gone at the end, also when others failed.
    pub async fn all(&self, node: &str, pods: &[Found]) -> Outcome {
        if self.args.nodes.dry_run() == DryRun::Client {
            return pods.iter().try_for_each(|pod| self.announce(pod));
        }
        let asked = join_all(pods.iter().map(|pod| self.one(pod))).await;
        let mut failures = Vec::new();
        let mut waited = BTreeMap::new();
        for (pod, asked) in pods.iter().zip(asked) {
            match asked {
                Ok(true) => drop(waited.insert(pod.object.uid.clone(), pod)),
                Ok(false) => {}
                Err(failure) => failures.push(failure),
            }
        }
        if !self.args.nodes.dry_run().on_server() && !waited.is_empty() {
            if let Some(outcome) = self.limit.run(self.wait(node, &mut waited)).await {
                outcome?;
            }
            failures.extend(waited.into_values().map(|pod| {
                let (namespace, name) = (&pod.key().namespace, &pod.key().name);
                Failure::new(format!(
                    "error when waiting for pod {name:?} in namespace {namespace:?} to terminate: \
                     global timeout reached: {:?}",
                    self.timeout
                ))
            }));
        }
        Failure::gather(failures)
    }

    fn announce(&self, pod: &Found) -> Outcome {
        let (namespace, name) = (&pod.key().namespace, &pod.key().name);
        let note = match self.args.nodes.dry_run() {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        };
        let doing = match self.args.disable_eviction {
            true => "deleting",
            false => "evicting",
        };
        let line = format!("{doing} pod {namespace}/{name}{note}");
        self.session.out.line(line)
    }

    /// Asks one pod to leave. Says whether it is to be waited for.
    async fn one(&self, pod: &Found) -> Outcome<bool> {
        let (namespace, name) = (&pod.key().namespace, &pod.key().name);
        let doing = match self.args.disable_eviction {
            true => "deleting",
            false => "evicting",
        };
        let failed = |why: &str| {
            Failure::new(format!(
                "error when {doing} pods/{name:?} -n {namespace:?}: {why}"
            ))
        };
        loop {
            if !self.args.disable_eviction || self.args.nodes.dry_run().on_server() {
                self.announce(pod)?;
            }
            let refused = match self.session.request(self.request(pod)).await {
                Ok(_) => return Ok(true),
                Err(Failure::Server(error)) => error,
                Err(other) => return Err(other),
            };
            match refused.reason {
                Reason::NotFound => return Ok(false),
                // A successor of the same name is not meant.
                Reason::Conflict if refused.message.contains("UID in precondition") => {
                    return Ok(false);
                }
                Reason::TooManyRequests => {
                    let again = failed(&refused.message).text();
                    let again = again.trim_start_matches("error: ").replacen(
                        ": ",
                        &format!(" (will retry after {}s): ", AGAIN.as_secs()),
                        1,
                    );
                    self.session.out.note(again);
                    let waited = self.limit.run(tokio::time::sleep(AGAIN)).await;
                    if waited.is_none() {
                        let why = format!("global timeout reached: {:?}", self.timeout);
                        return Err(failed(&why));
                    }
                }
                _ => return Err(failed(&refused.message)),
            }
        }
    }

    fn request(&self, pod: &Found) -> Request {
        let grace = self.args.grace_period;
        let options = DeleteOptions {
            grace_period_s: (grace >= 0).then_some(grace),
            uid: Some(pod.object.uid.clone()),
            dry_run: self.args.nodes.dry_run().on_server(),
            ..DeleteOptions::default()
        };
        let key = pod.key().clone();
        match self.args.disable_eviction {
            true => Request::Delete { key, options },
            false => Request::Evict { pod: key, options },
        }
    }

    /// Waits until the pods are gone, and takes out each that is.
    async fn wait(&self, node: &str, left: &mut BTreeMap<Arc<str>, &Found>) -> Outcome {
        loop {
            let mut selection = ListRequest::all(Resource::PODS, None);
            selection.fields = format!("spec.nodeName={node}");
            let mut watch = self.session.watch(selection, WatchStart::List).await?;
            let mut listed: BTreeMap<Arc<str>, Arc<Stored>> = BTreeMap::new();
            let mut tick = tokio::time::interval(LOOK);
            loop {
                let event = tokio::select! {
                    event = watch.next() => event,
                    _ = tick.tick() => {
                        self.give_up(&listed, left)?;
                        if left.is_empty() {
                            return Ok(());
                        }
                        continue;
                    }
                };
                match event {
                    None => break,
                    Some(Err(error)) if error.reason == Reason::Expired => break,
                    Some(Err(error)) => return Err(Failure::Server(error)),
                    Some(Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod))) => {
                        listed.insert(pod.uid.clone(), pod);
                    }
                    Some(Ok(WatchEvent::Deleted(pod))) => {
                        listed.remove(&pod.uid);
                        self.gone(left.remove(&pod.uid))?;
                    }
                    Some(Ok(WatchEvent::Bookmark {
                        initial_end: true, ..
                    })) => {
                        let gone = left.keys().filter(|uid| !listed.contains_key(*uid));
                        let gone: Vec<Arc<str>> = gone.cloned().collect();
                        gone.iter()
                            .try_for_each(|uid| self.gone(left.remove(uid)))?;
                    }
                    Some(Ok(WatchEvent::Bookmark { .. })) => {}
                }
                if left.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    fn gone(&self, pod: Option<&Found>) -> Outcome {
        let did = match self.args.disable_eviction {
            true => "deleted",
            false => "evicted",
        };
        match pod {
            Some(pod) => self.session.out.line(format!("{} {did}", pod.label())),
            None => Ok(()),
        }
    }

    /// Takes out pods that should be gone since long.
    fn give_up(
        &self,
        listed: &BTreeMap<Arc<str>, Arc<Stored>>,
        left: &mut BTreeMap<Arc<str>, &Found>,
    ) -> Outcome {
        let now = jiff::Timestamp::now();
        let long_gone = |uid: &Arc<str>| {
            let pod = listed.get(uid)?.typed::<Pod>().ok()?;
            is_long_gone(self.args, &pod, now).then(|| uid.clone())
        };
        let given_up: Vec<Arc<str>> = left.keys().filter_map(long_gone).collect();
        for uid in given_up {
            if let Some(pod) = left.remove(&uid) {
                let seconds = self.args.skip_wait_for_delete_timeout;
                self.session.out.line(format!(
                    "pod {:?} has DeletionTimestamp older than {seconds} seconds, skipping",
                    pod.key().name
                ))?;
            }
        }
        Ok(())
    }
}
