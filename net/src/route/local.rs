//! Addresses of the loopback interface that are the cluster's: recognised by their label, so that
//! they can be taken away without knowing which they were.

use super::{Link, Routes, to_io};
use crate::NetError;
use futures::TryStreamExt;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use std::net::IpAddr;

/// The label of our addresses; the kernel wants the interface's name in front.
const LABEL: &str = "lo:kabuki";

impl Routes {
    /// Our addresses of the loopback interface.
    pub(crate) async fn local_addresses(&self, loopback: &Link) -> Result<Vec<IpAddr>, NetError> {
        let request = self.handle.address().get();
        let request = request.set_link_index_filter(loopback.index).execute();
        let messages: Vec<AddressMessage> = request
            .try_collect()
            .await
            .map_err(super::link_error("read the addresses of", &loopback.name))?;
        let ours = |m: &&AddressMessage| {
            let label =
                |a: &AddressAttribute| matches!(a, AddressAttribute::Label(l) if l == LABEL);
            m.attributes.iter().any(label)
        };
        let address = |m: &AddressMessage| {
            m.attributes.iter().find_map(|a| match a {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            })
        };
        Ok(messages.iter().filter(ours).filter_map(address).collect())
    }

    /// Makes an IPv4 address local to the node, under our label.
    pub(crate) async fn add_local(&self, loopback: &Link, address: IpAddr) -> Result<(), NetError> {
        let mut request = self
            .handle
            .address()
            .add(loopback.index, address, 32)
            .replace();
        let label = AddressAttribute::Label(LABEL.to_owned());
        request.message_mut().attributes.push(label);
        request.execute().await.map_err(|error| NetError::Address {
            operation: "add",
            address,
            interface: loopback.name.clone(),
            source: to_io(error),
        })
    }

    /// Brings the loopback interface up: in a new network namespace it is down.
    pub(crate) async fn set_loopback_up(&self, loopback: &Link) -> Result<(), NetError> {
        let message = LinkUnspec::new_with_index(loopback.index).up().build();
        let request = self.handle.link().change(message).execute();
        let failed = super::link_error("configure", &loopback.name);
        request.await.map_err(failed)
    }
}
