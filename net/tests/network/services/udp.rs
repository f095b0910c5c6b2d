//! Datagrams, whose connections the kernel remembers for longer than endpoints last.

use std::net::{SocketAddr, UdpSocket};

use kabuki_model::service::Protocol;
use kabuki_net::plan::services::{Owner, service_plan};
use kabuki_net::{Netns, UdpFronts};

use super::{Endpoint, Proxy, here, service_of, slices, view};
use crate::world::{PATIENCE, Pod, on_node};

/// A server that answers with its number.
async fn answering(pod: &Pod, number: u8) -> Endpoint {
    let at = SocketAddr::new(pod.address(), 5300);
    let socket = pod.netns.run(move || UdpSocket::bind(at)).await.unwrap();
    let socket = socket.unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 16];
        while let Ok((_, client)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&[number], client).await;
        }
    });
    here(at)
}

async fn client(netns: &Netns, to: &'static str) -> UdpSocket {
    let open = move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(to)?;
        Ok::<_, std::io::Error>(socket)
    };
    netns.run(open).await.unwrap().unwrap()
}

async fn question(socket: &UdpSocket) -> std::io::Result<u8> {
    let socket = socket.try_clone().unwrap();
    let ask = move || {
        socket.send(b"?")?;
        let mut answer = [0];
        socket.recv(&mut answer)?;
        Ok(answer[0])
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

fn forget(proxy: &mut Proxy, fronts: &mut UdpFronts) -> usize {
    let forgotten = proxy.datagrams.forget_stale(fronts, &[], |_| {});
    forgotten.unwrap()
}

#[test]
fn a_client_leaves_an_endpoint_that_is_gone_with_its_next_datagram() {
    on_node(|node| async move {
        let (a, b) = (node.pod("10.244.3.2").await, node.pod("10.244.3.3").await);
        let from = node.pod("10.244.3.4").await;
        let (one, two) = (answering(&a, 1).await, answering(&b, 2).await);
        let dns = service_of("10.96.0.10", Protocol::Udp);
        let other = service_of("10.96.0.11", Protocol::Udp);
        let mut proxy = Proxy::new(&node);
        proxy.set(&dns, std::slice::from_ref(&one));
        proxy.set(&other, std::slice::from_ref(&one));
        let socket = client(&from.netns, "10.96.0.10:80").await;
        let bystander = client(&from.netns, "10.96.0.11:80").await;
        assert_eq!(question(&socket).await.unwrap(), 1);
        assert_eq!(question(&bystander).await.unwrap(), 1);

        let before_it_went = UdpFronts::all(&proxy.services);
        let slices = slices(&dns, &[two]);
        let plans = service_plan(&dns, &slices, &view());
        let owner = Owner::Service(dns.key.clone());
        let delta = proxy.services.update(vec![(owner.clone(), plans)]);
        proxy.table.apply(&delta, &proxy.services).unwrap();
        // Without more, the kernel keeps to what it knows.
        assert_eq!(question(&socket).await.unwrap(), 1);
        let mut fronts = UdpFronts::concerned(&delta, [&owner], &proxy.services).unwrap();
        // By the time at which all have been looked at it was an endpoint again.
        let again = before_it_went;
        let spared = proxy
            .datagrams
            .forget_stale(&mut fronts, &[], |f| f.merge(again));
        assert_eq!(spared.unwrap(), 0);
        let mut fronts = UdpFronts::concerned(&delta, [&owner], &proxy.services).unwrap();
        assert_eq!(forget(&mut proxy, &mut fronts), 1);
        assert_eq!(question(&socket).await.unwrap(), 2);
        assert_eq!(question(&bystander).await.unwrap(), 1);
        let mut all = UdpFronts::all(&proxy.services);
        assert_eq!(forget(&mut proxy, &mut all), 0);
    });
}

#[test]
fn datagrams_of_a_service_that_went_are_refused() {
    on_node(|node| async move {
        let (a, from) = (node.pod("10.244.3.2").await, node.pod("10.244.3.4").await);
        let one = answering(&a, 1).await;
        let dns = service_of("10.96.0.10", Protocol::Udp);
        let mut proxy = Proxy::new(&node);
        proxy.set(&dns, &[one]);
        let socket = client(&from.netns, "10.96.0.10:80").await;
        assert_eq!(question(&socket).await.unwrap(), 1);
        let owner = Owner::Service(dns.key.clone());
        let delta = proxy.services.update(vec![(owner.clone(), Vec::new())]);
        proxy.table.apply(&delta, &proxy.services).unwrap();
        let mut fronts = UdpFronts::concerned(&delta, [&owner], &proxy.services).unwrap();
        assert_eq!(forget(&mut proxy, &mut fronts), 1);
        let told = question(&socket).await.unwrap_err();
        assert_eq!(told.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}
