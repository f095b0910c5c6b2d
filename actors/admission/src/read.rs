//! Answers gets and lists from a view.

use crate::write::scale_of;
use kabuki_model::request::{Answer, Content, ListRequest, ObjectList, Request, Subresource};
use kabuki_model::selector::Selection;
use kabuki_model::status::Remainder;
use kabuki_model::view::{Index, Objects, View};
use kabuki_model::{ObjectKey, StatusError};

/// In a token: the newest revision, and no certain one.
const ANY_REVISION: u64 = 0;

/// Answers a get or a list.
pub fn read(view: &dyn View, request: &Request) -> Result<Answer, StatusError> {
    match request {
        Request::Get { key, subresource } => {
            let kind = crate::draft::kind_of(&key.resource)?;
            if *subresource == Some(Subresource::Status) && !kind.has_status {
                return Err(StatusError::not_served());
            }
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

/// The revision that a continued list must be read at; `None` for a list that begins, and for one
/// that goes on at whatever revision there is.
pub fn continued_revision(token: &str) -> Result<Option<u64>, StatusError> {
    let revision = Token::parse(token)?.map(|t| t.revision);
    Ok(revision.filter(|r| *r != ANY_REVISION))
}

/// The refusal of a list that cannot go on at the revision at which it began. It brings a token
/// that goes on at the newest one (Kubernetes' API concepts, "410 Gone responses").
pub fn too_old(token: &str) -> StatusError {
    let mut error = StatusError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can \
         start a new list without the continue parameter, or use the continue token in this \
         response to retrieve the remainder of the results. Continuing with the provided token \
         results in an inconsistent list - objects that were created, modified, or deleted between \
         the time the first chunk was returned and now may show up in the list.",
    );
    if let Some((_, place)) = token.split_once('/') {
        let continue_token = format!("{ANY_REVISION}/{place}");
        error.remainder = Some(Box::new(Remainder { continue_token }));
    }
    error
}

fn list(view: &dyn View, request: &ListRequest) -> Result<Answer, StatusError> {
    crate::draft::kind_of(&request.resource)?;
    let selection = Selection::compile(request)?;
    let token = Token::parse(&request.continue_token)?;
    if token
        .as_ref()
        .is_some_and(|t| t.revision != ANY_REVISION && t.revision != view.revision())
    {
        return Err(too_old(&request.continue_token));
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

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_model::view::MapView;
    use kabuki_model::{Resource, Stored};

    fn put(view: &mut MapView, name: &str) {
        let json = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"a"}}}}"#
        );
        let key = ObjectKey::new(Resource::CONFIG_MAPS, "a", name);
        view.put(&Stored::new(key, name.into(), 0, json.into()));
    }

    fn page(view: &MapView, token: &str) -> Result<(Vec<String>, String), StatusError> {
        let mut request = ListRequest::all(Resource::CONFIG_MAPS, None);
        request.limit = 2;
        request.continue_token = token.to_string();
        let list = read(view, &Request::List(request))?.into_list();
        let list = list.expect("a list");
        let names = list.items.iter().map(|o| o.key.name.to_string());
        Ok((names.collect(), list.continue_token))
    }

    #[test]
    fn a_list_that_is_too_old_can_go_on_at_the_newest_revision() {
        let mut view = MapView::default();
        for name in ["a", "b", "c", "d", "f"] {
            put(&mut view, name);
        }
        let (first, token) = page(&view, "").expect("the first page");
        assert_eq!(first, ["a", "b"]);
        put(&mut view, "e");
        let refused = page(&view, &token).expect_err("too old");
        assert_eq!(refused.reason.code(), 410);
        let status = refused.to_json();
        let token = refused.remainder.expect("a token").continue_token;
        assert_eq!(status["metadata"]["continue"], token);
        assert_eq!(continued_revision(&token), Ok(None));
        let (next, token) = page(&view, &token).expect("goes on");
        assert_eq!(next, ["c", "d"]);
        // From here on the pages are of one revision again.
        assert_eq!(continued_revision(&token), Ok(Some(view.revision())));
        assert_eq!(page(&view, &token).expect("the end").0, ["e", "f"]);
    }
}
