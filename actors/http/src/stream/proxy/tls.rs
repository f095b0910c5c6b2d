//! TLS to whom a request is handed on. Nobody asks who it is: the stream comes from the pod's own
//! node.

use kabuki_protocol::unverified;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::ServerName;

/// Speaks TLS on a connection.
pub(super) async fn connect<S>(stream: S) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // What is handed on is HTTP/1.1; and one pod's tickets are none of another's.
    let mut config = unverified::config(&[b"http/1.1"])?;
    config.resumption = Resumption::disabled();
    // An address is not sent: like Kubernetes, this names no server.
    let nobody = ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED));
    TlsConnector::from(Arc::new(config))
        .connect(nobody, stream)
        .await
}
