//! How objects look on the wire: what the client accepts, and its encoding.
//!
//! | | whole objects | tables | metadata alone | watches |
//! |---|---|---|---|---|
//! | JSON | stored bytes, spliced | from the kind's columns | cut out of stored bytes | a line each |
//! | YAML | of the JSON | of the JSON | of the JSON | |
//! | protobuf | from the JSON, by the table of types | | the same | framed by lengths |
//!
//! Lists are made as the client takes them, so that none is in memory as a whole.

mod accept;
mod json;
mod made;
mod protobuf;
mod table;

use crate::query::Query;
use crate::response::{Body, full, streamed};
use crate::served::Served;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use kabuki_model::request::ObjectList;
use kabuki_model::status::Reason;
use kabuki_model::watch::WatchEvent;
use kabuki_model::{StatusError, Stored};
use serde_json::Value;
use std::io;

pub use made::Made;
pub use protobuf::ProtobufError;
pub(crate) use protobuf::wire;

/// The media types that are offered and taken.
const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// Pieces of a list are about this large, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Lists of no more items are made at once.
const AT_ONCE: usize = 32;

/// What the client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Negotiated {
    encoding: Encoding,
    transform: Transform,
    include: Include,
    pretty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// What is made of objects, with the version of `meta.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Transform {
    None,
    Table(&'static str),
    Metadata(&'static str),
}

/// What the rows of a table hold beside their cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Include {
    None,
    Metadata,
    Object,
}

/// What an answer will hold, which decides what can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Objects of a kind: as they are, as tables, their metadata alone.
    Objects,
    /// A watch: the same as a stream.
    Watch,
    /// Anything else (a `Status`, discovery).
    Plain,
}

/// Finds out what the client accepts.
///
/// # Errors
/// `NotAcceptable`, naming what is offered.
pub fn negotiate(headers: &HeaderMap, purpose: Purpose) -> Result<Negotiated, StatusError> {
    let Some((encoding, transform)) = accept::choose(headers, purpose) else {
        let message = format!("only the following media types are accepted: {MEDIA_TYPES}");
        return Err(StatusError::new(Reason::NotAcceptable, message));
    };
    Ok(Negotiated {
        encoding,
        transform,
        include: Include::Metadata,
        pretty: false,
    })
}

/// A body as JSON, whatever it was sent as. `served` is the kind that the path names.
///
/// # Errors
/// `UnsupportedMediaType`, naming what is taken; `BadRequest` for what cannot be decoded.
pub fn decode(
    headers: &HeaderMap,
    served: Option<&Served>,
    body: Bytes,
) -> Result<Bytes, StatusError> {
    let given = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let given = given.unwrap_or_default().split(';').next();
    if body.is_empty() {
        return Ok(body);
    }
    match given
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "application/json" | "*/*" => Ok(body),
        "application/yaml" => decode_yaml(&body),
        "application/vnd.kubernetes.protobuf" => {
            let value = protobuf::decode(&body).map_err(|e| {
                let what = served.map_or("object", |s| s.kind.names.kind);
                StatusError::bad_request(format!("{what} in the body of the request: {e}"))
            })?;
            Ok(value.to_string().into())
        }
        _ => Err(StatusError::new(
            Reason::UnsupportedMediaType,
            format!(
                "the body of the request was in an unknown format - accepted media types include: {MEDIA_TYPES}"
            ),
        )),
    }
}

fn decode_yaml(body: &[u8]) -> Result<Bytes, StatusError> {
    let text = std::str::from_utf8(body)
        .map_err(|e| StatusError::bad_request(format!("error decoding YAML: {e}")))?;
    let value = kabuki_model::manifest::from_yaml(text)
        .map_err(|e| StatusError::bad_request(format!("error decoding YAML: {e}")))?;
    Ok(value.to_string().into())
}

/// An object of `application/vnd.kubernetes.protobuf` as a JSON value.
///
/// # Errors
/// What is wrong with the message.
pub fn json_of_protobuf(bytes: &[u8]) -> Result<Value, ProtobufError> {
    protobuf::decode(bytes)
}

/// A JSON value as an object of `application/vnd.kubernetes.protobuf`.
///
/// # Errors
/// Types that have no such form, and values that do not fit their type.
pub fn protobuf_of_json(value: &Value) -> Result<Vec<u8>, ProtobufError> {
    protobuf::encode(value)
}

impl Negotiated {
    /// With what the query says of it.
    ///
    /// # Errors
    /// `BadRequest` for what tables cannot include.
    pub fn asked(mut self, query: &Query) -> Result<Self, StatusError> {
        self.include = match query.text("includeObject") {
            "" | "Metadata" => Include::Metadata,
            "None" => Include::None,
            "Object" => Include::Object,
            other => {
                return Err(StatusError::bad_request(format!(
                    "unrecognized includeObject value: {other:?}: use None, Metadata or Object"
                )));
            }
        };
        self.pretty = query.flag("pretty");
        Ok(self)
    }

    /// The content type of a whole answer.
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        })
    }

    /// The content type of a watch.
    pub fn stream_type(&self) -> HeaderValue {
        match self.encoding {
            Encoding::Protobuf => {
                HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch")
            }
            _ => HeaderValue::from_static("application/json"),
        }
    }

    /// One object.
    pub fn object(&self, served: &Served, object: &Stored) -> Result<Bytes, StatusError> {
        let json = self.object_json(served, object, true)?;
        self.encoded(json)
    }

    /// An object as it is asked for, in JSON.
    fn object_json(
        &self,
        served: &Served,
        object: &Stored,
        named: bool,
    ) -> Result<Vec<u8>, StatusError> {
        match self.transform {
            Transform::None => Ok(served.shown(object)?.to_json()),
            Transform::Table(version) => table::one(served, object, version, self.include, named),
            Transform::Metadata(version) => {
                let mut partial = Vec::new();
                json::push_partial(&mut partial, object, version, false);
                Ok(partial)
            }
        }
    }

    /// JSON in the client's encoding.
    fn encoded(&self, json: Vec<u8>) -> Result<Bytes, StatusError> {
        if self.encoding == Encoding::Json && !self.pretty {
            return Ok(json.into());
        }
        let value: Value = serde_json::from_slice(&json)
            .map_err(|e| StatusError::internal(format!("an answer is no valid JSON: {e}")))?;
        self.value(&value)
    }

    /// A list.
    pub fn list(&self, served: &Served, list: ObjectList) -> Result<Body, StatusError> {
        let making = Making::new(*self, *served, list);
        if self.encoding == Encoding::Json && !self.pretty && making.list.items.len() > AT_ONCE {
            let pieces = futures::stream::iter(making);
            return Ok(streamed(pieces));
        }
        let mut whole = Vec::new();
        for piece in making {
            let piece = piece.map_err(|e| StatusError::internal(e.to_string()))?;
            whole.extend_from_slice(&piece);
        }
        Ok(full(self.encoded(whole)?))
    }

    /// One event of a watch, framed. `first` is whether it is the first of its watch (a table
    /// names its columns only there).
    pub fn event(
        &self,
        served: &Served,
        event: &WatchEvent,
        first: bool,
    ) -> Result<Bytes, StatusError> {
        let (name, object) = match event {
            WatchEvent::Added(object) => ("ADDED", object),
            WatchEvent::Modified(object) => ("MODIFIED", object),
            WatchEvent::Deleted(object) => ("DELETED", object),
            WatchEvent::Bookmark {
                revision,
                initial_end,
            } => {
                let bookmark = self.bookmark(served, *revision, *initial_end, first);
                return self.framed("BOOKMARK", bookmark);
            }
        };
        let json = self.object_json(served, object, first)?;
        self.framed(name, json)
    }

    fn bookmark(&self, served: &Served, revision: u64, end: bool, first: bool) -> Vec<u8> {
        let (kind, version) = match self.transform {
            Transform::Table(version) => {
                let meta = serde_json::json!({"resourceVersion": revision.to_string()});
                let mut empty = table::head(served, version, &meta, first);
                empty.extend_from_slice(b"]}");
                return empty;
            }
            Transform::None => (served.kind.names.kind, served.api_version()),
            Transform::Metadata(version) => {
                ("PartialObjectMetadata", format!("meta.k8s.io/{version}"))
            }
        };
        let bookmark = json::bookmark(kind, &version, revision, end);
        bookmark.to_string().into_bytes()
    }

    fn framed(&self, name: &str, object: Vec<u8>) -> Result<Bytes, StatusError> {
        match self.encoding {
            Encoding::Protobuf => Ok(protobuf::event(name, &self.encoded(object)?).into()),
            _ => Ok(json::event(name, &object)),
        }
    }

    /// An error as the last event of a watch, framed.
    pub fn error_event(&self, error: &StatusError) -> Bytes {
        let status = error.to_json().to_string().into_bytes();
        // A `Status` has a form in every encoding.
        self.framed("ERROR", status).unwrap_or_default()
    }

    /// Anything that is no stored object: a `Status`, a `Scale`, a review.
    pub fn value(&self, value: &Value) -> Result<Bytes, StatusError> {
        match self.encoding {
            Encoding::Json if self.pretty => {
                let pretty = serde_json::to_vec_pretty(value);
                let pretty = pretty.map_err(|e| StatusError::internal(e.to_string()))?;
                Ok(pretty.into())
            }
            Encoding::Json => Ok(value.to_string().into()),
            Encoding::Yaml => Ok(kabuki_model::manifest::to_yaml(value).into()),
            Encoding::Protobuf => protobuf::encode(value)
                .map(Bytes::from)
                .map_err(|e| StatusError::new(Reason::NotAcceptable, e.to_string())),
        }
    }
}

/// A list in the making, piece by piece.
struct Making {
    negotiated: Negotiated,
    served: Served,
    list: ObjectList,
    now: Timestamp,
    next: usize,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Head,
    Items,
    Done,
}

impl Making {
    fn new(negotiated: Negotiated, served: Served, list: ObjectList) -> Self {
        Self {
            negotiated,
            served,
            list,
            now: Timestamp::now(),
            next: 0,
            state: State::Head,
        }
    }

    fn head(&self) -> Vec<u8> {
        let served = &self.served;
        match self.negotiated.transform {
            Transform::None => {
                let kind = format!("{}List", served.kind.names.kind);
                json::list_head(&kind, &served.api_version(), &self.list)
            }
            Transform::Table(version) => {
                table::head(served, version, &json::list_meta(&self.list), true)
            }
            Transform::Metadata(version) => {
                let version = format!("meta.k8s.io/{version}");
                json::list_head("PartialObjectMetadataList", &version, &self.list)
            }
        }
    }

    fn push(&self, buffer: &mut Vec<u8>, object: &Stored) -> Result<(), StatusError> {
        let negotiated = &self.negotiated;
        match negotiated.transform {
            Transform::None => {
                let shown = self.served.shown(object)?;
                json::push_item(buffer, &shown);
            }
            Transform::Metadata(version) => json::push_partial(buffer, object, version, true),
            Transform::Table(version) => {
                let (served, include) = (&self.served, negotiated.include);
                table::push_row(buffer, served, object, version, include, self.now)?;
            }
        }
        Ok(())
    }
}

impl Iterator for Making {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut buffer = match self.state {
            State::Done => return None,
            State::Head => self.head(),
            State::Items => Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4),
        };
        self.state = State::Items;
        while let Some(object) = self.list.items.get(self.next) {
            if buffer.len() >= PIECE_BYTES {
                return Some(Ok(buffer.into()));
            }
            if self.next > 0 {
                buffer.push(b',');
            }
            self.next += 1;
            if let Err(error) = self.push(&mut buffer, &object.clone()) {
                self.state = State::Done;
                return Some(Err(io::Error::other(error.message)));
            }
        }
        buffer.extend_from_slice(b"]}");
        self.state = State::Done;
        Some(Ok(buffer.into()))
    }
}
