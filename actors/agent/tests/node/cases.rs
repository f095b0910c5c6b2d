//! What a node does with pods.

use crate::node::TestNode;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;

type Case = fn() -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub const ALL: &[(&str, Case)] = &[$((stringify!($name), || $name().boxed())),*];
    };
}

cases!(a_pod_runs_and_goes_when_it_is_deleted);

async fn a_pod_runs_and_goes_when_it_is_deleted() {
    let node = TestNode::start().await;
    node.run("web", "echo hello; exec sleep 1000", json!({}));
    let pod = node.until_running("web").await;
    assert_eq!(pod["status"]["podIP"], "10.244.7.2");
    for trace in node.agent.traces() {
        println!("{trace:?}");
    }
    assert_eq!(node.log("web").await, "hello\n");
    node.delete("web", 1).await;
    node.until_gone("web").await;
    println!("{:#?}", node.events("web"));
    node.remove().await;
}
