//! Opens the connection: TLS 1.3 with the native protocol, under the kubeconfig's certificate.
//! What goes wrong is said with what to do about it.

use super::failure::{Failure, Outcome, fail};
use super::kubeconfig::Target;
use anyhow::Context;
use kabuki_protocol::client::{Client, OpenError};
use kabuki_protocol::frame::FrameError;
use kabuki_protocol::session::ALPN;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, RootCertStore, crypto,
    version,
};

/// How long each of connecting, handshake and greeting may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The port of a server whose URL has none.
const DEFAULT_PORT: u16 = 443;

/// How this program calls itself.
pub const AGENT: &str = concat!("kabuki/", env!("CARGO_PKG_VERSION"));

/// Opens a session.
pub async fn open(target: &Target) -> Outcome<Client> {
    let (host, port) = host_and_port(&target.server)?;
    let address = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let config = tls_config(target)?;
    let name = target.server_name.clone().unwrap_or_else(|| host.clone());
    let name = ServerName::try_from(name)
        .with_context(|| format!("the server {:?} has no usable name", target.server))?;
    let limited = "did not answer within 10 s: is the address right, and does a firewall let you?";
    let tcp = match tokio::time::timeout(LIMIT, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(unreachable(&address, &error)),
        Err(_) => fail!("the server {address} {limited}"),
    };
    // Without this a request of two small writes may wait for an acknowledgement.
    tcp.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::new(config));
    let tls = match tokio::time::timeout(LIMIT, connector.connect(name, tcp)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(distrusted(&address, &error)),
        Err(_) => fail!("the server {address} {limited}"),
    };
    greet(tls, &address).await
}

async fn greet(tls: TlsStream<TcpStream>, address: &str) -> Outcome<Client> {
    if tls.get_ref().1.alpn_protocol() != Some(ALPN) {
        fail!("the server {address} is no kabuki node: it does not offer kabuki's protocol");
    }
    match tokio::time::timeout(LIMIT, Client::open(tls, AGENT)).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(OpenError::Frame(FrameError::Io(error)))) => Err(distrusted(address, &error)),
        Ok(Err(error)) => fail!("the server {address}: {error}"),
        Err(_) => fail!("the server {address} accepted the connection, but did not greet"),
    }
}

fn tls_config(target: &Target) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&target.authority, "certificate authority")? {
        roots
            .add(certificate)
            .context("the kubeconfig's certificate authority is no authority")?;
    }
    let chain = certificates(&target.certificate, "client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&target.key)
        .context("the kubeconfig's client key is no private key in PEM")?;
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .context("TLS 1.3 is not available")?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .context("the kubeconfig's client certificate and key do not belong together")?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8], what: &str) -> Outcome<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.with_context(|| format!("the kubeconfig's {what} is no PEM"))?;
    match read.is_empty() {
        true => fail!("the kubeconfig's {what} holds no certificate"),
        false => Ok(read),
    }
}

/// The host and port of `https://HOST[:PORT]`.
pub fn host_and_port(server: &str) -> Outcome<(String, u16)> {
    let wrong = || {
        Failure::new(format!(
            "the kubeconfig's server {server:?} is no address like https://10.0.0.1:6443"
        ))
    };
    let rest = match server.split_once("://") {
        Some(("https", rest)) => rest,
        Some(("http", _)) => fail!("the server {server:?} is without TLS, which is never spoken"),
        Some(_) => return Err(wrong()),
        None => server,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or_else(wrong)?;
            (host, after.strip_prefix(':'))
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = port.map_or(Ok(DEFAULT_PORT), |p| p.parse().map_err(|_| wrong()))?;
    match host.is_empty() {
        true => Err(wrong()),
        false => Ok((host.to_string(), port)),
    }
}

fn unreachable(address: &str, error: &io::Error) -> Failure {
    Failure::new(match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "the connection to the server {address} was refused: is the node running? Start it \
             with `kabuki node`, or name another server's kubeconfig with --kubeconfig"
        ),
        _ => format!("the server {address} cannot be reached: {error}"),
    })
}

/// Why the handshake failed, which may only show when the first frame is read.
fn distrusted(address: &str, error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<TlsError>());
    let anew = "if the cluster was made anew, use the kubeconfig that it wrote then";
    Failure::new(match inner {
        Some(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)) => format!(
            "the server {address} has a certificate of an authority that the kubeconfig does not \
             know: {anew}"
        ),
        Some(TlsError::InvalidCertificate(CertificateError::BadSignature)) => format!(
            "the certificate of the server {address} is not signed by the kubeconfig's authority: \
             {anew}"
        ),
        Some(TlsError::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => format!(
            "the certificate of the server {address} has expired: are the clocks of both machines \
             right? If so, start its node again"
        ),
        Some(TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => format!(
            "the certificate of the server {address} is for other names: use one of them in the \
             kubeconfig, or set tls-server-name there"
        ),
        Some(TlsError::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            format!("the server {address} is no kabuki node: it does not offer kabuki's protocol")
        }
        Some(TlsError::AlertReceived(AlertDescription::CertificateExpired)) => {
            "the kubeconfig's client certificate has expired: take a new one from the node's data \
             directory"
                .to_string()
        }
        Some(TlsError::AlertReceived(_)) => format!(
            "the server {address} does not accept the kubeconfig's client certificate ({error}): \
             {anew}"
        ),
        _ => format!("the connection to the server {address} failed: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts_with_ports() {
        let parts = |server: &str| host_and_port(server).expect("parses");
        assert_eq!(parts("https://a.example:1"), ("a.example".to_string(), 1));
        assert_eq!(parts("https://10.0.0.1/"), ("10.0.0.1".to_string(), 443));
        assert_eq!(parts("https://[::1]:6443"), ("::1".to_string(), 6443));
        for wrong in [
            "http://a",
            "ftp://a",
            "https://",
            "https://a:b",
            "https://[::1",
        ] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_to_do_is_said_when_nobody_listens() {
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(unreachable("a:1", &error).text().contains("kabuki node"));
    }

    #[test]
    fn an_unknown_authority_is_told_from_an_expired_certificate() {
        let text = |error: CertificateError| {
            let error = TlsError::InvalidCertificate(error);
            distrusted("a:1", &io::Error::new(io::ErrorKind::InvalidData, error)).text()
        };
        assert!(text(CertificateError::UnknownIssuer).contains("made anew"));
        assert!(text(CertificateError::Expired).contains("expired"));
    }
}
