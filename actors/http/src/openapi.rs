//! The schemas of what is served: OpenAPI v3 (an index, and one document for each group and
//! version) and v2, as JSON or protobuf. Made from the registry's schemas when they are first asked for, kept
//! compressed for a while, and forgotten when nobody asks: an idle node holds none.

mod definitions;
mod document;
mod paths;
mod protobuf;
#[cfg(test)]
mod tests;

use crate::compression::compressed;
use crate::discovery::group_versions;
use crate::error;
use crate::request::Context;
use crate::response::{JSON, Response, answer, full, streamed};
use bytes::Bytes;
use document::Dialect;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::stream;
use http::StatusCode;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderValue, IF_NONE_MATCH, VARY,
};
use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a document is kept after it was made.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// What is unpacked at once for a client that takes no gzip, in bytes.
const PIECE_BYTES: usize = 32 << 10;

/// A document: `v2`, or one group and version.
type Name = (Dialect, Form, &'static str, &'static str);

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Json,
    Protobuf,
}

/// The media types of protobuf, for each version: as it is, and as it was before `@` was found to
/// be no letter of a media type. Clients ask for the older one.
const PROTOBUF: [(Dialect, &str); 4] = [
    (
        Dialect::V2,
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    ),
    (
        Dialect::V2,
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    ),
    (
        Dialect::V3,
        "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
    ),
    (
        Dialect::V3,
        "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
    ),
];

/// The documents that were made, and are still kept.
#[derive(Clone, Default)]
pub struct OpenApi {
    kept: Arc<Mutex<HashMap<Name, Arc<Document>>>>,
    /// One is made at a time: it takes a megabyte or ten while it is made.
    making: Arc<tokio::sync::Mutex<()>>,
}

/// A document in gzip.
struct Document {
    packed: Bytes,
    tag: String,
}

/// `/openapi/v3`
pub fn index(_context: &Context) -> Result<Response, StatusError> {
    let mut paths = serde_json::Map::new();
    for (group, version) in group_versions() {
        let path = match group {
            "" => format!("api/{version}"),
            group => format!("apis/{group}/{version}"),
        };
        let hash = edition(group, version);
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    let text = json!({"paths": paths}).to_string();
    Ok(answer(StatusCode::OK, JSON, full(text)))
}

/// `/openapi/v3/apis/GROUP/VERSION`
pub async fn v3(context: &Context, group: &str, version: &str) -> Result<Response, StatusError> {
    let mut known = group_versions().into_iter();
    let (group, version) = known
        .find(|(g, v)| *g == group && *v == version)
        .ok_or_else(error::no_such_path)?;
    let mut response = served(context, Dialect::V3, group, version).await?;
    let hash = context.query.get("hash");
    if hash.is_some_and(|hash| hash == edition(group, version)) {
        // The address names the edition, so what is there never changes.
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(CACHE_CONTROL, forever);
    }
    Ok(response)
}

/// `/openapi/v2`
pub async fn v2(context: &Context) -> Result<Response, StatusError> {
    served(context, Dialect::V2, "", "").await
}

/// What distinguishes the document of this program from that of another: all of it comes from the
/// program alone.
fn edition(group: &str, version: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    if let Ok(program) = std::env::current_exe().and_then(std::fs::metadata) {
        hash.update(program.len().to_le_bytes());
        if let Ok(made) = program.modified()
            && let Ok(since) = made.duration_since(std::time::UNIX_EPOCH)
        {
            hash.update(since.as_nanos().to_le_bytes());
        }
    }
    hash.update(group);
    hash.update(version);
    hex(&hash.finalize())
}

async fn served(
    context: &Context,
    dialect: Dialect,
    group: &'static str,
    version: &'static str,
) -> Result<Response, StatusError> {
    let accept = context.header(ACCEPT).unwrap_or_default();
    let (form, media) = acceptable(dialect, accept)?;
    let name = (dialect, form, group, version);
    let document = context.shared.openapi.get(name).await?;
    let known = context.header(IF_NONE_MATCH);
    let known = known.is_some_and(|given| given.split(',').any(|g| g.trim() == document.tag));
    let mut response = match known {
        true => {
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false if compressed::accepted(&context.headers) => {
            let mut response = answer(StatusCode::OK, media, full(document.packed.clone()));
            let gzip = HeaderValue::from_static("gzip");
            response.headers_mut().insert(CONTENT_ENCODING, gzip);
            response
        }
        false => answer(StatusCode::OK, media, unpacked(&document)),
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    if let Ok(tag) = HeaderValue::from_str(&document.tag) {
        headers.insert(ETAG, tag);
    }
    Ok(response)
}

/// The first form that the client accepts.
fn acceptable(dialect: Dialect, accept: &str) -> Result<(Form, HeaderValue), StatusError> {
    for accepted in accept.split(',') {
        let media = accepted.split(';').next().unwrap_or_default().trim();
        if matches!(media, "" | "*/*" | "application/*" | "application/json") {
            return Ok((Form::Json, JSON));
        }
        let own = PROTOBUF
            .iter()
            .find(|(of, name)| *of == dialect && *name == media);
        if let Some((_, media)) = own {
            return Ok((Form::Protobuf, HeaderValue::from_static(media)));
        }
    }
    let own = PROTOBUF.iter().filter(|(of, _)| *of == dialect);
    let names: Vec<&str> = own.map(|(_, name)| *name).collect();
    Err(StatusError::new(
        Reason::NotAcceptable,
        format!(
            "only the following media types are accepted: application/json, {}",
            names.join(", ")
        ),
    ))
}

fn unpacked(document: &Document) -> crate::response::Body {
    use bytes::Buf;
    let decoder = GzDecoder::new(document.packed.clone().reader());
    streamed(stream::unfold(Some(decoder), |decoder| async {
        let mut decoder = decoder?;
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let mut limited = (&mut decoder).take(PIECE_BYTES as u64);
        match limited.read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.into()), Some(decoder))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl OpenApi {
    async fn get(&self, name: Name) -> Result<Arc<Document>, StatusError> {
        if let Some(kept) = self.kept(&name) {
            return Ok(kept);
        }
        let _turn = self.making.lock().await;
        if let Some(kept) = self.kept(&name) {
            return Ok(kept);
        }
        let made = tokio::task::spawn_blocking(move || make(name)).await;
        let made = made.map_err(|e| StatusError::internal(format!("a schema: {e}")))??;
        let made = Arc::new(made);
        self.lock().insert(name, made.clone());
        let kept = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEPT_FOR).await;
            kept.lock().remove(&name);
        });
        Ok(made)
    }

    fn kept(&self, name: &Name) -> Option<Arc<Document>> {
        self.lock().get(name).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Arc<Document>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make((dialect, form, group, version): Name) -> Result<Document, StatusError> {
    let value = document::document(dialect, group, version);
    let failed = |e: std::io::Error| StatusError::internal(format!("a schema: {e}"));
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    let written = match form {
        Form::Json => value.to_string().into_bytes(),
        Form::Protobuf => protobuf::encode(dialect, &value),
    };
    drop(value);
    packer.write_all(&written).map_err(failed)?;
    let packed = packer.finish().map_err(failed)?;
    Ok(Document {
        tag: format!("\"{}\"", hex(&Sha256::digest(&packed))),
        packed: packed.into(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}
