//! A routing socket on a thread of its own.

use std::io;

use rtnetlink::Handle;
use rtnetlink::packet_route::RouteNetlinkMessage;

use crate::NetError;

/// The future that carries requests to the kernel.
pub(crate) type LinkConnection = rtnetlink::proto::Connection<RouteNetlinkMessage>;

/// Runs `body` with a routing socket on a thread of its own, in the network namespace of the
/// calling thread. The kernel does its work inside the call that sends a request, and some of
/// it takes long, so it must not be an async worker that sends.
pub(crate) fn serve<F, Fut>(thread: &'static str, body: F) -> Result<(), NetError>
where
    F: FnOnce(Handle, LinkConnection) -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    let (opened_tx, opened_rx) = std::sync::mpsc::sync_channel(1);
    let run = move || {
        let open = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()?;
            let (connection, handle, _) = {
                let _inside = runtime.enter();
                rtnetlink::new_connection()?
            };
            Ok((runtime, connection, handle))
        };
        match open() {
            Ok((runtime, connection, handle)) => {
                let _ = opened_tx.send(Ok(()));
                runtime.block_on(body(handle, connection));
            }
            Err(error) => {
                let _ = opened_tx.send(Err(error));
            }
        }
    };
    std::thread::Builder::new()
        .name(thread.to_owned())
        .spawn(run)
        .map_err(socket_error)?;
    match opened_rx.recv() {
        Ok(opened) => opened.map_err(socket_error),
        Err(_) => Err(socket_error(io::Error::other("its thread ended"))),
    }
}

pub(crate) fn socket_error(source: io::Error) -> NetError {
    NetError::Socket {
        purpose: "the node's interfaces",
        source,
    }
}
