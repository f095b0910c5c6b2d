//! Informers: a store that follows what is stored, whatever happens in between.

use super::{LIMIT, Way, settings};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kabuki_tests::harness::Daemon;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use std::collections::BTreeMap;
use std::pin::Pin;

/// More than the server remembers of the changes of a kind.
const MORE_THAN_IS_KEPT: usize = 18;
const LARGE: usize = 1_000_000;

/// A store, what fills it, and how often it was filled from a list.
struct Informer {
    store: Store<ConfigMap>,
    events: Pin<Box<dyn Stream<Item = watcher::Result<watcher::Event<ConfigMap>>> + Send>>,
    lists: usize,
}

impl Informer {
    fn new(maps: Api<ConfigMap>, config: watcher::Config) -> Self {
        let (store, writer) = reflector::store();
        let config = config.labels("app=shop");
        let events = reflector::reflector(writer, watcher(maps, config).default_backoff());
        Self {
            store,
            events: Box::pin(events),
            lists: 0,
        }
    }

    fn holds(&self) -> BTreeMap<String, String> {
        let of = |m: &ConfigMap| {
            m.data
                .as_ref()
                .map_or(String::new(), |d| d["colour"].clone())
        };
        let state = self.store.state();
        state.iter().map(|m| (m.name_any(), of(m))).collect()
    }

    /// Follows until the store holds these, by name and colour.
    async fn follow(&mut self, wanted: &[(&str, &str)]) {
        let pair = |(name, colour): &(&str, &str)| (name.to_string(), colour.to_string());
        let wanted: BTreeMap<String, String> = wanted.iter().map(pair).collect();
        let followed = tokio::time::timeout(LIMIT, async {
            while self.holds() != wanted {
                // What fails on the way is tried again by the watcher.
                if let Some(Ok(watcher::Event::Init)) = self.events.next().await {
                    self.lists += 1;
                }
            }
        });
        let seen = followed.await;
        assert!(seen.is_ok(), "wanted {wanted:?}, holds {:?}", self.holds());
    }
}

fn goes_on_after_a_restart(config: watcher::Config) {
    let mut node = Daemon::start();
    Way::to(&node).with_client(|client| async move {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let usual = PostParams::default();
        let mut informer = Informer::new(maps.clone(), config);
        maps.create(&usual, &settings("a", "red")).await?;
        informer.follow(&[("a", "red")]).await;
        maps.create(&usual, &settings("b", "red")).await?;
        informer.follow(&[("a", "red"), ("b", "red")]).await;
        assert_eq!(informer.lists, 1);

        // A restart: the watch goes on where it was.
        node.kill();
        node.restart();
        maps.replace("a", &usual, &settings("a", "blue")).await?;
        maps.delete("b", &DeleteParams::default()).await?;
        informer.follow(&[("a", "blue")]).await;

        // A restart, and more changes than are remembered: only a list can tell what is now.
        let before = informer.lists;
        node.restart();
        let mut large = settings("large", &"x".repeat(LARGE));
        large.metadata.labels = None;
        maps.create(&usual, &large).await?;
        for number in 0..MORE_THAN_IS_KEPT {
            let data = large.data.get_or_insert_default();
            data.insert("number".into(), number.to_string());
            maps.replace("large", &usual, &large).await?;
        }
        maps.delete("a", &DeleteParams::default()).await?;
        maps.create(&usual, &settings("c", "red")).await?;
        informer.follow(&[("c", "red")]).await;
        assert_eq!(informer.lists, before + 1, "it listed again");
        Ok(())
    });
}

#[test]
fn an_informer_that_lists_and_watches_goes_on_after_a_restart_and_a_desync() {
    goes_on_after_a_restart(watcher::Config::default());
}

#[test]
fn an_informer_that_streams_its_list_goes_on_after_a_restart_and_a_desync() {
    goes_on_after_a_restart(watcher::Config::default().streaming_lists());
}

#[test]
fn a_watch_resumes_after_the_last_bookmark_and_an_old_one_is_gone() {
    let node = Daemon::start();
    Way::to(&node).with_client(|client| async move {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let usual = PostParams::default();
        let first = maps.create(&usual, &settings("a", "red")).await?;
        maps.create(&usual, &settings("b", "red")).await?;
        let since = first.resource_version().expect("a revision");
        let params = WatchParams::default().labels("app=shop").timeout(1);
        let events = maps.watch(&params, &since).await?;
        let events: Vec<WatchEvent<ConfigMap>> = events
            .filter_map(|event| async move { event.ok() })
            .collect()
            .await;
        let added: Vec<String> = events
            .iter()
            .filter_map(|event| match event {
                WatchEvent::Added(map) => Some(map.name_any()),
                _ => None,
            })
            .collect();
        assert_eq!(added, ["b"], "the watch ended by itself");
        Ok(())
    });
}
