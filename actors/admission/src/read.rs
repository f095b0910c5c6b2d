//! Answers gets and lists from a view.

use crate::write::scale_of;
use kabuki_model::request::{Answer, Content, ListRequest, ObjectList, Request, Subresource};
use kabuki_model::selector::Selection;
use kabuki_model::view::{Index, Objects, View};
use kabuki_model::{ObjectKey, StatusError};

/// Answers a get or a list.
pub fn read(view: &dyn View, request: &Request) -> Result<Answer, StatusError> {
    match request {
        Request::Get { key, subresource } => {
            crate::draft::kind_of(&key.resource)?;
            let object = view.get(key).ok_or_else(|| StatusError::not_found(key))?;
            match subresource {
                Some(Subresource::Scale) => scale_of(object).map(Answer::object),
                _ => Ok(Answer::object(object.clone())),
            }
        }
        Request::List(list) => self::list(view, list),
        _ => Err(StatusError::internal("a write is not answered by reading")),
    }
}

/// The revision that a continued list must be read at; `None` for a list that begins.
pub fn continued_revision(token: &str) -> Result<Option<u64>, StatusError> {
    Ok(Token::parse(token)?.map(|t| t.revision))
}

fn list(view: &dyn View, request: &ListRequest) -> Result<Answer, StatusError> {
    crate::draft::kind_of(&request.resource)?;
    let selection = Selection::compile(request)?;
    let token = Token::parse(&request.continue_token)?;
    if token
        .as_ref()
        .is_some_and(|t| t.revision != view.revision())
    {
        return Err(StatusError::expired(
            "The provided continue parameter is too old to display a consistent list result. You \
             must start a new list without the continue parameter.",
        ));
    }
    let after = token.map(|t| ObjectKey::new(request.resource.clone(), &t.namespace, &t.name));
    let limit = match request.limit {
        0 => usize::MAX,
        limit => limit as usize,
    };
    let mut matching =
        candidates(view, request, &selection, after.as_ref()).filter(|o| selection.matches(o));
    let mut list = ObjectList {
        revision: view.revision(),
        ..ObjectList::default()
    };
    list.items.extend(matching.by_ref().take(limit).cloned());
    let unselected = request.labels.is_empty() && request.fields.is_empty();
    if matching.next().is_some()
        && let Some(last) = list.items.last()
    {
        list.continue_token = Token::after(&last.key, list.revision);
        list.remaining = unselected.then(|| matching.count() as u64 + 1);
    }
    Ok(Answer {
        content: Content::List(list),
        warnings: Vec::new(),
    })
}

/// The objects that may match: by index when the selection names a node, else all.
fn candidates<'a>(
    view: &'a dyn View,
    request: &ListRequest,
    selection: &Selection,
    after: Option<&ObjectKey>,
) -> Objects<'a> {
    match selection.field_equals("spec.nodeName") {
        Some(node) if !node.is_empty() => {
            let namespace = request.namespace.clone();
            let after = after.cloned();
            Box::new(view.indexed(Index::Node, node).filter(move |o| {
                namespace.as_deref().is_none_or(|n| n == &*o.key.namespace)
                    && after.as_ref().is_none_or(|a| o.key > *a)
            }))
        }
        _ => view.scan(&request.resource, request.namespace.as_deref(), after),
    }
}

/// Where a list goes on: `revision/namespace/name`.
struct Token {
    revision: u64,
    namespace: String,
    name: String,
}

impl Token {
    fn parse(token: &str) -> Result<Option<Self>, StatusError> {
        if token.is_empty() {
            return Ok(None);
        }
        let mut parts = token.splitn(3, '/');
        let parsed = (|| {
            Some(Self {
                revision: parts.next()?.parse().ok()?,
                namespace: parts.next()?.to_string(),
                name: parts.next()?.to_string(),
            })
        })();
        parsed
            .map(Some)
            .ok_or_else(|| StatusError::bad_request("continue key is not valid"))
    }

    fn after(key: &ObjectKey, revision: u64) -> String {
        format!("{revision}/{}/{}", key.namespace, key.name)
    }
}
