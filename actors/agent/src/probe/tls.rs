//! TLS without verification: a probe asks whether a program answers, not who it is.

use kabuki_protocol::unverified;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// Speaks TLS on a connection.
pub(super) async fn connect(
    stream: TcpStream,
    host: &str,
    alpn: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    let config = unverified::config(alpn)?;
    let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}
