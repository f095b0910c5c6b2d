//! `probed http|https|udp PORT`, `probed grpc|grpcs PORT [SERVICE]`: what a container runs whose probes
//! and hooks speak these protocols. Every request is a line of its output, which begins with the
//! milliseconds since it started. While the file `/tmp/sick` is there, it answers that it is not
//! well. Whoever asks over HTTP for `/hang` gets no answer; how long it waited is a line. Over UDP it
//! sends back what it gets.

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn main() -> anyhow::Result<()> {
    LazyLock::force(&BEGUN);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [protocol, port, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("probed http|https|udp|grpc|grpcs PORT [SERVICE]");
    };
    let port: u16 = port.parse()?;
    let service = rest.first().cloned().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if protocol == "udp" {
            return echo(port).await;
        }
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        let tls = TlsAcceptor::from(Arc::new(certificate()?));
        loop {
            let (stream, _) = listener.accept().await?;
            match protocol.as_str() {
                "http" => tokio::spawn(serve(stream)),
                "https" => tokio::spawn(https(stream, tls.clone())),
                "grpcs" => tokio::spawn(grpcs(stream, tls.clone(), service.clone())),
                _ => tokio::spawn(grpc(stream, service.clone())),
            };
        }
    })
}

fn is_sick() -> bool {
    Path::new("/tmp/sick").exists()
}

/// Nobody vouches for it: probes do not ask.
fn certificate() -> anyhow::Result<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["probed".to_string()])?;
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn https(stream: TcpStream, tls: TlsAcceptor) -> anyhow::Result<()> {
    serve(tls.accept(stream).await?).await
}

/// Says how long somebody waited, when that ends.
struct Waits(Instant);

impl Drop for Waits {
    fn drop(&mut self) {
        println!("waited {}", self.0.elapsed().as_millis());
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<()> {
    let answer = |request: hyper::Request<hyper::body::Incoming>| async move {
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|v| v.to_str().ok());
            value.unwrap_or_default().to_string()
        };
        let (host, own) = (header("host"), header("x-probe"));
        let at = BEGUN.elapsed().as_millis();
        println!("{at} {} {} {host} {own}", request.method(), request.uri());
        if request.uri().path() == "/hang" {
            let _waits = Waits(Instant::now());
            // The connection ends this.
            std::future::pending::<()>().await;
        }
        let code = if is_sick() { 500 } else { 200 };
        let mut response = hyper::Response::new(Full::new(Bytes::new()));
        *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
        Ok::<_, Infallible>(response)
    };
    let server = hyper::server::conn::http1::Builder::new();
    Ok(server
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await?)
}

async fn echo(port: u16) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
    }
}

async fn grpcs(stream: TcpStream, tls: TlsAcceptor, service: String) -> anyhow::Result<()> {
    grpc(tls.accept(stream).await?, service).await
}

/// `grpc.health.v1.Health`: both messages have one field.
async fn grpc(stream: impl AsyncRead + AsyncWrite + Unpin, service: String) -> anyhow::Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        println!("{} {}", request.method(), request.uri().path());
        let mut body = request.into_body();
        let mut asked = Vec::new();
        while let Some(part) = body.data().await {
            asked.extend_from_slice(&part?);
        }
        // A prefix of five bytes, the field's head, its length, and the name.
        let asked = String::from_utf8_lossy(asked.get(7..).unwrap_or_default()).into_owned();
        let known = asked == service;
        let head = http::Response::builder().header("content-type", "application/grpc");
        let mut stream = respond.send_response(head.body(())?, false)?;
        if known {
            let status = if is_sick() { 2 } else { 1 };
            stream.send_data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]), false)?;
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", if known { "0" } else { "5" }.parse()?);
        stream.send_trailers(trailers)?;
    }
    Ok(())
}
