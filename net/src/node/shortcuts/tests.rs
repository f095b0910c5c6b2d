//! What is on the interfaces, in a namespace that plays the node.

use futures::TryStreamExt;
use rtnetlink::packet_route::tc::TcAttribute;

use super::*;
use crate::plan::{NetworkMode, Peer};
use crate::shortcut::tests::untested;
use crate::{AttachRequest, Netns, NetworkConfig};

async fn filters(handle: &rtnetlink::Handle, place: (u32, Side)) -> usize {
    let mut all = handle.traffic_filter(place.0.cast_signed());
    let all = match place.1 {
        Side::In => all.get().ingress(),
        Side::Out => all.get().egress(),
    };
    // The kernel answers with a chain and with what is in it.
    let all: Vec<_> = all.execute().try_collect().await.unwrap_or_default();
    let options = |a: &TcAttribute| matches!(a, TcAttribute::Options(_));
    let with_options = all.iter().filter(|m| m.attributes.iter().any(options));
    with_options.count()
}

fn peer() -> Peer {
    Peer {
        name: "other".to_owned(),
        pod_cidr: "10.244.2.0/24".parse().unwrap(),
        address: [192, 0, 2, 2].into(),
        mode: Some(NetworkMode::Vxlan),
    }
}

async fn node() -> (NodeNetwork, Netns) {
    let own = [192, 0, 2, 1].into();
    let block = |text: &str| text.parse().unwrap();
    let (pods, cluster) = (block("10.244.1.0/24"), block("10.244.0.0/16"));
    let config = NetworkConfig::new("kb-test", "kv-test", own, pods, cluster);
    let network = NodeNetwork::open(config).unwrap();
    network.ensure().await.unwrap();
    network.hold_local(&[own]).await.unwrap();
    let netns = Netns::create().unwrap();
    let request = AttachRequest {
        pod_uid: "pod".to_owned(),
        netns: netns.clone(),
        address: [10, 244, 1, 2].into(),
    };
    network.attach(request).await.unwrap();
    assert!(network.set_peers(&[peer()]).await.unwrap().is_empty());
    (network, netns)
}

fn in_netns(body: impl AsyncFnOnce() + Send + 'static) {
    let netns = Netns::create().expect("tests of this crate need root");
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(body());
    };
    netns.run_blocking(run).expect("the test's body failed");
}

#[test]
fn programs_that_nobody_tells_of_changes_are_taken_away() {
    in_netns(async || {
        let (network, _pod) = node().await;
        let Some(shortcuts) = network.inner.short_way.shortcuts() else {
            untested("the kernel takes no programs here");
            return;
        };
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let places = shortcuts.places();
        let pod = network.pod_links().await.unwrap()[0].index;
        let hung = [
            (places.overlay, Side::In),
            (places.overlay, Side::Out),
            (places.bridge, Side::Out),
            (pod, Side::In),
        ];
        for place in hung {
            assert_eq!(filters(&handle, place).await, 1, "{place:?}");
        }
        // Again, as a next daemon would: in their places, not beside them.
        network.hang_everywhere(&shortcuts).await;
        for place in hung {
            assert_eq!(filters(&handle, place).await, 1, "{place:?}");
        }
        // Also where there are none any more.
        for _ in 0..2 {
            network.unhang_everywhere(places).await.unwrap();
        }
        for place in hung {
            assert_eq!(filters(&handle, place).await, 0, "{place:?}");
        }
        network.reset().await.unwrap();
        assert!(network.inner.short_way.shortcuts().is_none());
    });
}

#[test]
fn another_device_gets_programs_of_its_own() {
    in_netns(async || {
        let (network, _pod) = node().await;
        let Some(before) = network.inner.short_way.shortcuts() else {
            untested("the kernel takes no programs here");
            return;
        };
        network.set_peers(&[]).await.unwrap();
        assert!(network.inner.short_way.shortcuts().is_none());
        network.set_peers(&[peer()]).await.unwrap();
        let after = network.inner.short_way.shortcuts().unwrap();
        assert_ne!(after.places(), before.places());
        assert!(network.is_shortened(Some(&after)) && !network.is_shortened(Some(&before)));
        // What changes nothing leaves them alone.
        network.set_peers(&[peer()]).await.unwrap();
        assert!(network.is_shortened(Some(&after)));
    });
}
