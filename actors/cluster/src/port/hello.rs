//! The first message of a TLS client, read without answering it, with its bytes kept.

use std::io::{self, Read};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::server::{Accepted, Acceptor};

/// No first message is larger, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// The first message.
pub(super) struct Hello {
    /// Every byte that was read so far.
    pub(super) bytes: Vec<u8>,
    /// The same, understood.
    pub(super) accepted: Accepted,
}

/// Reads the first message. Who speaks something else is told so in TLS' own words.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        let got = stream.read(&mut chunk).await?;
        let chunk = chunk.get(..got).unwrap_or_default();
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(io::Error::other("the first message is too large"));
        }
        bytes.extend_from_slice(chunk);
        feed(&mut acceptor, chunk)?;
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Hello { bytes, accepted }),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut words = Vec::new();
                alert.write_all(&mut words)?;
                let _ = stream.write_all(&words).await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

fn feed(acceptor: &mut Acceptor, mut chunk: &[u8]) -> io::Result<()> {
    while !chunk.is_empty() {
        let rest: &mut dyn Read = &mut chunk;
        if acceptor.read_tls(rest)? == 0 {
            return Err(io::Error::other("the first message is too large"));
        }
    }
    Ok(())
}
