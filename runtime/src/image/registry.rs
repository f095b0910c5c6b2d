//! A client of the OCI distribution protocol: what pulling needs, no more.
//!
//! Own code on `reqwest`, because everything that a registry sends is bounded here: documents
//! are read up to a limit, every read has a time limit, and blobs are streamed. The
//! general-purpose clients read whole answers into memory, whatever their size.
//!
//! An [`Endpoint`] is one place to ask (a mirror or the registry itself); a [`Session`] is an
//! endpoint with the credentials that it accepted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, HeaderValue, RANGE, WWW_AUTHENTICATE},
};
use tokio::sync::Mutex;

mod challenge;
mod endpoint;
mod token;

pub use endpoint::RegistryConfig;
pub(crate) use endpoint::{Clients, Endpoint};

use super::{
    credentials::Credential,
    digest::Digest,
    error::{ImageError, Result},
    manifest::{ACCEPTED, MAX_DOCUMENT_BYTES},
    reference::Reference,
};
use challenge::Challenge;

/// The longest that a document may take altogether, so that a trickle ends too.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// As much of an error's body as is read.
const MAX_ERROR_BYTES: u64 = 16 << 10;

/// An endpoint, one repository in it, and how to authenticate there.
pub(crate) struct Session {
    endpoint: Endpoint,
    client: reqwest::Client,
    reference: Reference,
    credential: Option<Credential>,
    authorization: Mutex<Option<HeaderValue>>,
}

/// A blob's bytes from `offset` on.
pub(crate) struct BlobStream {
    pub offset: u64,
    pub bytes: futures::stream::BoxStream<'static, Result<Bytes>>,
}

impl Session {
    pub async fn open(
        clients: &Clients,
        endpoint: Endpoint,
        reference: &Reference,
        credential: Option<Credential>,
    ) -> Result<Self> {
        Ok(Self {
            client: clients.get(&endpoint).await?,
            endpoint,
            reference: reference.clone(),
            credential,
            authorization: Mutex::new(None),
        })
    }

    /// A manifest or index by tag or digest, verified if by digest.
    pub async fn manifest(&self, tag_or_digest: &str) -> Result<(Bytes, Digest)> {
        let url = self
            .endpoint
            .url(&self.reference, "manifests", tag_or_digest);
        let accepted = ACCEPTED.join(", ");
        let bytes = self
            .document(&url, Some(&accepted), MAX_DOCUMENT_BYTES)
            .await?;
        let actual = Digest::of(&bytes);
        if tag_or_digest
            .parse::<Digest>()
            .is_ok_and(|expected| expected != actual)
        {
            return Err(ImageError::Corrupt {
                what: format!("manifest of \"{}\"", self.reference),
                expected: tag_or_digest.to_owned(),
                actual: actual.to_string(),
            });
        }
        Ok((bytes, actual))
    }

    /// A small blob, verified.
    pub async fn small_blob(&self, digest: &Digest, size: u64) -> Result<Bytes> {
        let url = self
            .endpoint
            .url(&self.reference, "blobs", &digest.to_string());
        let bytes = self
            .document(&url, None, size.min(MAX_DOCUMENT_BYTES))
            .await?;
        let actual = Digest::of(&bytes);
        if actual != *digest || bytes.len() as u64 != size {
            return Err(ImageError::Corrupt {
                what: format!("blob {digest} of \"{}\"", self.reference),
                expected: format!("{digest} of {size} bytes"),
                actual: format!("{actual} of {} bytes", bytes.len()),
            });
        }
        Ok(bytes)
    }

    /// A large blob as a stream, from `offset` on if the registry can do that, else from the
    /// start. Neither size nor digest are verified here.
    pub async fn blob(&self, digest: &Digest, offset: u64) -> Result<BlobStream> {
        let url = self
            .endpoint
            .url(&self.reference, "blobs", &digest.to_string());
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        let request = |client: &reqwest::Client| {
            let request = client.get(&url);
            match &range {
                Some(range) => request.header(RANGE, range),
                None => request,
            }
        };
        let response = self.send(request).await?;
        let start = match response.status() {
            StatusCode::PARTIAL_CONTENT => range_start(&response).unwrap_or(u64::MAX),
            StatusCode::RANGE_NOT_SATISFIABLE => u64::MAX,
            _ => 0,
        };
        if start != 0 && start != offset {
            return Err(self.refused("it answered with another range than asked for"));
        }
        let host = self.endpoint.host().to_owned();
        let bytes = self.check(response).await?.bytes_stream();
        Ok(BlobStream {
            offset: start,
            bytes: bytes
                .map(move |chunk| chunk.map_err(|e| unreachable(&host, &e)))
                .boxed(),
        })
    }

    pub fn host(&self) -> &str {
        self.endpoint.host()
    }

    async fn document(&self, url: &str, accept: Option<&str>, limit: u64) -> Result<Bytes> {
        let request = |client: &reqwest::Client| match accept {
            Some(accept) => client.get(url).header(ACCEPT, accept),
            None => client.get(url),
        };
        let fetch = async {
            let response = self.send(request).await?;
            let response = self.check(response).await?;
            self.read_bounded(response, limit).await
        };
        match tokio::time::timeout(DOCUMENT_TIMEOUT, fetch).await {
            Ok(result) => result,
            Err(_) => Err(ImageError::Unreachable {
                registry: self.endpoint.host().to_owned(),
                detail: format!("no answer within {} s", DOCUMENT_TIMEOUT.as_secs()),
            }),
        }
    }

    async fn read_bounded(&self, response: Response, limit: u64) -> Result<Bytes> {
        let host = self.endpoint.host();
        let stream = response
            .bytes_stream()
            .map(|chunk| chunk.map_err(|e| unreachable(host, &e)));
        match collect(stream, limit).await? {
            Some(bytes) => Ok(bytes),
            None => Err(ImageError::BadManifest {
                what: format!("answer of registry {host} for \"{}\"", self.reference),
                reason: format!("it is larger than {limit} bytes"),
            }),
        }
    }

    /// Sends a request, authenticating once if the registry asks for it.
    async fn send(&self, request: impl Fn(&reqwest::Client) -> RequestBuilder) -> Result<Response> {
        let known = self.authorization.lock().await.clone();
        let response = self
            .send_once(request(&self.client), known.as_ref())
            .await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenges: Vec<Challenge> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(Challenge::parse_all)
            .collect();
        let mut current = self.authorization.lock().await;
        // Another request may have authenticated in the meantime.
        if *current == known {
            *current = match self.authorize(&challenges).await? {
                Some(fresh) => Some(fresh),
                None => return Ok(response),
            };
        }
        let fresh = current.clone();
        drop(current);
        self.send_once(request(&self.client), fresh.as_ref()).await
    }

    async fn send_once(
        &self,
        request: RequestBuilder,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response> {
        let request = match authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        };
        request
            .send()
            .await
            .map_err(|error| unreachable(self.endpoint.host(), &error))
    }

    async fn check(&self, response: Response) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = collect(
            response.bytes_stream().map(|c| c.map_err(drop)),
            MAX_ERROR_BYTES,
        );
        let body = body.await.ok().flatten().unwrap_or_default();
        let detail = describe(status, &body);
        let reference = self.reference.to_string();
        Err(match status {
            StatusCode::NOT_FOUND => ImageError::NotFound { reference, detail },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                ImageError::Unauthorized { reference, detail }
            }
            status if status.is_server_error() => ImageError::Unreachable {
                registry: self.endpoint.host().to_owned(),
                detail,
            },
            _ => self.refused(detail),
        })
    }

    fn refused(&self, detail: impl Into<String>) -> ImageError {
        ImageError::Registry {
            registry: self.endpoint.host().to_owned(),
            detail: detail.into(),
        }
    }
}

/// Collects at most `limit` bytes; None if there are more.
async fn collect<E>(
    stream: impl Stream<Item = Result<Bytes, E>>,
    limit: u64,
) -> Result<Option<Bytes>, E> {
    let mut stream = std::pin::pin!(stream);
    let mut collected = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if collected.len() as u64 + chunk.len() as u64 > limit {
            return Ok(None);
        }
        collected.extend_from_slice(&chunk);
    }
    Ok(Some(collected.into()))
}

fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .trim()
        .parse()
        .ok()
}

/// The registry's own words if it has any (distribution specification, "Error Codes").
fn describe(status: StatusCode, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<Error>,
    }
    #[derive(serde::Deserialize)]
    struct Error {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let words = serde_json::from_slice::<Errors>(body).map_or(String::new(), |parsed| {
        let texts = parsed
            .errors
            .iter()
            .take(3)
            .map(|error| match error.message.as_str() {
                "" => error.code.clone(),
                message => message.chars().take(200).collect(),
            });
        texts.collect::<Vec<String>>().join(", ")
    });
    match words.as_str() {
        "" => status.to_string(),
        words => format!("{words} ({status})"),
    }
}

/// The last cause says most: "connection refused", "certificate has expired".
pub(crate) fn unreachable(host: &str, error: &reqwest::Error) -> ImageError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let detail = if error.is_timeout() {
        "it did not answer in time".to_owned()
    } else if cause.to_string().contains("InvalidContentType") {
        "it does not speak TLS; configure it as a plain HTTP registry if that is meant".to_owned()
    } else {
        cause.to_string()
    };
    ImageError::Unreachable {
        registry: host.to_owned(),
        detail,
    }
}

/// Shared by all who download from it at the same time.
pub(crate) type SharedSession = Arc<Session>;
