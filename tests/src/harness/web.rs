//! Requests over HTTP to a daemon, each on a connection of its own, as whoever a kubeconfig names.

use super::Daemon;
use super::session::{connect, tls_config};
use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

/// Who asks, and where.
pub struct Web<'a> {
    daemon: &'a Daemon,
    tls: Arc<ClientConfig>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub code: u16,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The lines of an answer that does not end by itself.
pub struct Lines {
    body: Incoming,
    held: Vec<u8>,
}

impl<'a> Web<'a> {
    /// Asks as whoever the kubeconfig names.
    pub fn new(daemon: &'a Daemon, kubeconfig: &Path) -> anyhow::Result<Self> {
        let tls = Arc::new(tls_config(kubeconfig, b"http/1.1")?);
        Ok(Self { daemon, tls })
    }

    /// Asks as the administrator.
    pub fn admin(daemon: &'a Daemon) -> anyhow::Result<Self> {
        let kubeconfig: PathBuf = daemon.data_dir().join("admin.kubeconfig");
        Self::new(daemon, &kubeconfig)
    }

    /// A connection, for who speaks on it without help.
    pub async fn connection(&self, protocol: &[u8]) -> anyhow::Result<TlsStream<TcpStream>> {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![protocol.to_vec()];
        let tcp = connect(self.daemon).await?;
        let name = ServerName::from(tcp.peer_addr()?.ip());
        let connector = TlsConnector::from(Arc::new(tls));
        Ok(connector.connect(name, tcp).await?)
    }

    /// Sends a request; gives the answer as soon as its headers are there.
    pub async fn open(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> anyhow::Result<Response<Incoming>> {
        let tls = self.connection(b"http/1.1").await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        let host = self.daemon.address().to_string();
        request.headers_mut().insert("host", host.parse()?);
        Ok(sender.send_request(request).await?)
    }

    /// Sends a request, and gives the whole answer.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Reply> {
        let (parts, body) = self.open(request).await?.into_parts();
        Ok(Reply {
            code: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// Sends a request whose answer is read line by line.
    pub async fn lines(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Lines> {
        let body = self.open(request).await?.into_body();
        let held = Vec::new();
        Ok(Lines { body, held })
    }
}

impl Lines {
    /// The next line, as JSON.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(end) = self.held.iter().position(|b| *b == b'\n') {
                let rest = self.held.split_off(end + 1);
                let line = std::mem::replace(&mut self.held, rest);
                return Ok(serde_json::from_slice(&line)?);
            }
            // A refusal is not ended by a new line.
            let Some(frame) = self.body.frame().await else {
                let last = std::mem::take(&mut self.held);
                return serde_json::from_slice(&last).context("the answer ended");
            };
            let frame = frame?;
            if let Some(data) = frame.data_ref() {
                self.held.extend_from_slice(data);
            }
        }
    }
}
