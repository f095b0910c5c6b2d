//! Manifests: streams of objects as people write them, in YAML or JSON.
//!
//! Read: many YAML documents, or JSON values one after the other; `List` and `*List` objects are
//! taken apart; empty documents and comments are skipped. Documents are read one at a time, so a
//! large stream needs no more memory than its largest document.
//!
//! YAML is read as version 1.2 has it, with these rules of Kubernetes' tools on top: keys that
//! are numbers or booleans become text, duplicate keys are refused, `<<` merges. The words
//! `yes`, `no`, `on` and `off` are text here (YAML 1.1 made them booleans): a boolean field that
//! gets one is refused by name rather than guessed at. File modes (`mode`, `defaultMode` below
//! `spec`) written like `0644` are octal, as in YAML 1.1.
//!
//! Anchors cannot make a document larger than ten times its text.

mod emit;
mod split;
mod strict;

pub use emit::to_yaml;

use serde_json::Value;
use split::Document;

/// The largest stream that is read.
pub const MAX_STREAM_BYTES: usize = 256 << 20;
/// The largest document of a stream. A stored object is far smaller; lists may be this large.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// One object of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestObject {
    /// The whole object.
    pub value: Value,
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// `metadata.namespace`; empty when not given.
    pub namespace: String,
    /// `metadata.name`; empty when not given (`generateName` may be).
    pub name: String,
    /// Where the stream came from: a file name, an address, `STDIN`.
    pub source: String,
    /// The number of the document in the stream, beginning with 1.
    pub document: usize,
    /// The line that the document begins at, beginning with 1.
    pub line: usize,
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The text is neither YAML nor JSON.
    #[error("error parsing {from}: document {document}, line {line}: {why}")]
    Syntax {
        /// Where the stream came from.
        from: String,
        /// Which document.
        document: usize,
        /// Which line of the stream.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The document is no object of any kind.
    #[error(
        "error validating {from:?}: error validating data: {why} (document {document}, line {line})"
    )]
    Shape {
        /// Where the stream came from.
        from: String,
        /// Which document.
        document: usize,
        /// The line that it begins at.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// More than [`MAX_STREAM_BYTES`] or [`MAX_DOCUMENT_BYTES`].
    #[error("{from}: {what} has {bytes} bytes, more than the {limit} that are read")]
    TooLarge {
        /// Where the stream came from.
        from: String,
        /// The stream or one of its documents.
        what: String,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("error parsing {from}: not UTF-8 text at byte {at}")]
    Encoding {
        /// Where the stream came from.
        from: String,
        /// The first byte that is not.
        at: usize,
    },
}

/// Reads a stream, object by object. After an error the remaining documents are still read.
pub fn parse<'a>(source: &'a str, bytes: &'a [u8]) -> Manifests<'a> {
    let from = source.to_string();
    let fault = if bytes.len() > MAX_STREAM_BYTES {
        Some(ManifestError::TooLarge {
            from,
            what: "the manifest".to_string(),
            bytes: bytes.len(),
            limit: MAX_STREAM_BYTES,
        })
    } else {
        std::str::from_utf8(bytes)
            .err()
            .map(|e| ManifestError::Encoding {
                from,
                at: e.valid_up_to(),
            })
    };
    let text = match fault {
        Some(_) => "",
        None => std::str::from_utf8(bytes).unwrap_or_default(),
    };
    Manifests {
        source,
        documents: split::documents(text.strip_prefix('\u{feff}').unwrap_or(text)),
        pending: fault.map(Err).into_iter().collect::<Vec<_>>().into_iter(),
    }
}

/// Reads a whole stream, or says what is wrong with the first document that is.
pub fn parse_all(source: &str, bytes: &[u8]) -> Result<Vec<ManifestObject>, ManifestError> {
    parse(source, bytes).collect()
}

/// The objects of a stream, see [`parse`].
pub struct Manifests<'a> {
    source: &'a str,
    documents: split::Documents<'a>,
    pending: std::vec::IntoIter<Result<ManifestObject, ManifestError>>,
}

/// Reads one document of YAML (of which JSON is a part) as a JSON value: the body of a request.
/// Duplicate keys are refused.
///
/// # Errors
/// What is wrong, with its line, beginning with 1.
pub fn from_yaml(text: &str) -> Result<Value, String> {
    let document = Document {
        number: 1,
        line: 1,
        text,
        json: false,
    };
    let mut value =
        strict::read(&document).map_err(|(line, why)| format!("line {}: {why}", line + 1))?;
    strict::octal_modes(&mut value);
    Ok(value)
}

impl Iterator for Manifests<'_> {
    type Item = Result<ManifestObject, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.pending.next() {
                return Some(item);
            }
            let document = self.documents.next()?;
            let read = Reader {
                source: self.source,
                document: &document,
            };
            let items = match read.value() {
                Ok(Value::Null) => Vec::new(),
                Ok(value) => read.objects(value),
                Err(error) => vec![Err(error)],
            };
            self.pending = items.into_iter();
        }
    }
}

struct Reader<'a> {
    source: &'a str,
    document: &'a Document<'a>,
}

impl Reader<'_> {
    fn value(&self) -> Result<Value, ManifestError> {
        let document = self.document;
        if document.text.len() > MAX_DOCUMENT_BYTES {
            return Err(ManifestError::TooLarge {
                from: self.source.to_string(),
                what: format!("document {}", document.number),
                bytes: document.text.len(),
                limit: MAX_DOCUMENT_BYTES,
            });
        }
        strict::read(document).map_err(|(line, why)| ManifestError::Syntax {
            from: self.source.to_string(),
            document: document.number,
            line: document.line + line,
            why,
        })
    }

    fn misshapen(&self, why: &str) -> ManifestError {
        ManifestError::Shape {
            from: self.source.to_string(),
            document: self.document.number,
            line: self.document.line,
            why: why.to_string(),
        }
    }

    fn objects(&self, value: Value) -> Vec<Result<ManifestObject, ManifestError>> {
        let mut objects = Vec::new();
        self.expand(value, None, &mut objects);
        objects
    }

    /// `inherited`: the `apiVersion` and `kind` that items of a typed list need not repeat.
    fn expand(
        &self,
        mut value: Value,
        inherited: Option<(&str, &str)>,
        out: &mut Vec<Result<ManifestObject, ManifestError>>,
    ) {
        let Some(fields) = value.as_object_mut() else {
            out.push(Err(
                self.misshapen("the document is not an object with fields")
            ));
            return;
        };
        if let Some((api_version, kind)) = inherited {
            fields
                .entry("apiVersion")
                .or_insert_with(|| api_version.into());
            fields.entry("kind").or_insert_with(|| kind.into());
        }
        let text = |field: &str| {
            fields
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (api_version, kind) = (text("apiVersion").to_string(), text("kind").to_string());
        let why = match (api_version.is_empty(), kind.is_empty()) {
            (true, true) => "[apiVersion not set, kind not set]",
            (true, false) => "apiVersion not set",
            (false, true) => "kind not set",
            (false, false) => "",
        };
        if !why.is_empty() {
            out.push(Err(self.misshapen(why)));
            return;
        }
        if let Some(item_kind) = kind.strip_suffix("List")
            && let Some(Value::Array(items)) = fields.get_mut("items").map(Value::take)
        {
            let inherited = (!item_kind.is_empty()).then_some((api_version.as_str(), item_kind));
            for item in items {
                self.expand(item, inherited, out);
            }
            return;
        }
        if kind == "List" {
            out.push(Err(self.misshapen("List: items must be a list")));
            return;
        }
        out.push(self.object(value, api_version, kind));
    }

    fn object(
        &self,
        mut value: Value,
        api_version: String,
        kind: String,
    ) -> Result<ManifestObject, ManifestError> {
        let metadata = match value.get("metadata") {
            None | Some(Value::Null) => None,
            Some(Value::Object(metadata)) => Some(metadata),
            Some(_) => return Err(self.misshapen("metadata is not an object with fields")),
        };
        let text = |field: &str| match metadata.and_then(|m| m.get(field)) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.misshapen(&format!("metadata.{field} is not text; quote it"))),
        };
        let (namespace, name) = (text("namespace")?, text("name")?);
        if let Some(spec) = value.get_mut("spec") {
            strict::octal_modes(spec);
        }
        Ok(ManifestObject {
            value,
            api_version,
            kind,
            namespace,
            name,
            source: self.source.to_string(),
            document: self.document.number,
            line: self.document.line,
        })
    }
}

#[cfg(test)]
mod tests;
