//! The cases over the native session.

use super::{Ask, How, Selected, refused};
use bytes::Bytes;
use jiff::Timestamp;
use kabuki_model::kind;
use kabuki_model::request::{
    Answer, Content, DeleteOptions, FieldValidation, ListRequest, Propagation, Request,
    Subresource, WriteOptions,
};
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use kabuki_protocol::Api;
use kabuki_tests::harness::Session;
use serde_json::{Value, json};

pub struct Native {
    pub session: Session,
    pub namespace: &'static str,
}

impl Native {
    pub async fn ask(&self, ask: &Ask) -> anyhow::Result<Value> {
        let answered = match ask {
            Ask::List(resource, selected, limit) => self.pages(resource, *selected, *limit).await,
            Ask::Table(resource) => self.table(resource).await,
            Ask::Watch(resource, selected, count) => self.events(resource, *selected, *count).await,
            _ => match self.perform(self.request(ask)?).await {
                Ok(answer) => Ok(shown(ask, answer)),
                Err(error) => Err(error),
            },
        };
        Ok(answered.unwrap_or_else(|error| refused(&error.to_json())))
    }

    async fn perform(&self, request: Request) -> Result<Answer, StatusError> {
        self.session.client().request(request).await
    }

    fn key(&self, resource: &str, name: &str) -> ObjectKey {
        ObjectKey::new(Resource::named(resource), self.namespace, name)
    }

    fn selection(&self, resource: &str, selected: Selected) -> ListRequest {
        ListRequest {
            labels: selected.labels.into(),
            fields: selected.fields.into(),
            ..ListRequest::all(Resource::named(resource), Some(self.namespace))
        }
    }

    /// The request of those that are one request.
    fn request(&self, ask: &Ask) -> anyhow::Result<Request> {
        let bytes = |value: &Value| Bytes::from(value.to_string());
        Ok(match ask {
            Ask::Create(resource, object, how) => Request::Create {
                resource: Resource::named(resource),
                namespace: self.namespace.into(),
                object: bytes(object),
                options: options(*how),
            },
            Ask::Get(resource, name) => Request::Get {
                key: self.key(resource, name),
                subresource: None,
            },
            Ask::GetPart(resource, name, part) => Request::Get {
                key: self.key(resource, name),
                subresource: Some(match *part {
                    "scale" => Subresource::Scale,
                    "status" => Subresource::Status,
                    other => anyhow::bail!("no case asks for {other:?}"),
                }),
            },
            Ask::Replace(resource, name, object, how) => Request::Update {
                key: self.key(resource, name),
                subresource: None,
                object: bytes(object),
                options: options(*how),
            },
            Ask::Patch(resource, name, patch_type, patch, how) => Request::Patch {
                key: self.key(resource, name),
                subresource: None,
                patch_type: *patch_type,
                patch: bytes(patch),
                options: options(*how),
            },
            Ask::Delete(resource, name, options) => Request::Delete {
                key: self.key(resource, name),
                options: deletion(options),
            },
            Ask::DeleteAll(resource, selected) => Request::DeleteCollection {
                selection: self.selection(resource, *selected),
                options: DeleteOptions::default(),
            },
            Ask::List(..) | Ask::Table(..) | Ask::Watch(..) => {
                anyhow::bail!("{ask:?} is more than one request")
            }
        })
    }

    async fn pages(
        &self,
        resource: &str,
        selected: Selected,
        limit: u32,
    ) -> Result<Value, StatusError> {
        let mut selection = self.selection(resource, selected);
        selection.limit = limit;
        let mut pages = Vec::new();
        loop {
            let answer = self.perform(Request::List(selection.clone())).await?;
            let list = answer.into_list().expect("a list is answered with a list");
            let items: Vec<Value> = list.items.iter().map(|o| value(o)).collect();
            pages.push(json!({"items": items, "remaining": list.remaining}));
            selection.continue_token = list.continue_token;
            if selection.continue_token.is_empty() {
                return Ok(pages.into());
            }
        }
    }

    /// What the CLI prints.
    async fn table(&self, resource: &str) -> Result<Value, StatusError> {
        let selection = self.selection(resource, Selected::default());
        let answer = self.perform(Request::List(selection)).await?;
        let list = answer.into_list().expect("a list is answered with a list");
        let kind = kind::of(&Resource::named(resource)).expect("cases are about known kinds");
        let columns: Vec<&str> = kind.columns.iter().map(|c| c.name).collect();
        let cells = |object: &Stored| kind.row(object, Timestamp::now()).map(|row| row.cells);
        let rows: Result<Vec<_>, _> = list.items.iter().map(|o| cells(o)).collect();
        let mut table = json!({"columns": columns, "rows": rows.expect("rows of stored objects")});
        super::over_http::without_age(&mut table);
        Ok(table)
    }

    async fn events(
        &self,
        resource: &str,
        selected: Selected,
        count: usize,
    ) -> Result<Value, StatusError> {
        let request = WatchRequest {
            selection: self.selection(resource, selected),
            start: WatchStart::List,
            bookmarks: false,
        };
        let mut watch = self.session.client().watch(request).await?;
        let mut seen = Vec::new();
        while seen.len() < count {
            let event = watch.next().await.expect("the watch goes on")?;
            let word = match &event {
                WatchEvent::Added(_) => "ADDED",
                WatchEvent::Modified(_) => "MODIFIED",
                WatchEvent::Deleted(_) => "DELETED",
                WatchEvent::Bookmark { .. } => continue,
            };
            let object = event.object().expect("no bookmark");
            seen.push(json!({"type": word, "object": value(object)}));
        }
        Ok(seen.into())
    }
}

fn value(object: &Stored) -> Value {
    serde_json::from_slice(&object.to_json()).expect("stored objects are JSON")
}

fn shown(ask: &Ask, answer: Answer) -> Value {
    let warnings = answer.warnings.clone();
    let shown = match answer.content {
        // Over HTTP, most are answered with no more than this.
        Content::Object(object) if matches!(ask, Ask::Delete(..)) => {
            json!({"deleted": *object.key.name})
        }
        Content::Object(object) => value(&object),
        Content::List(list) => {
            let names: Vec<&str> = list.items.iter().map(|o| &*o.key.name).collect();
            json!({"deleted": names})
        }
        other => panic!("no case is answered so: {other:?}"),
    };
    json!({"answer": shown, "warnings": warnings})
}

fn options(how: How) -> WriteOptions {
    WriteOptions {
        dry_run: how.dry_run,
        validation: match how.lenient {
            true => FieldValidation::Warn,
            false => FieldValidation::Strict,
        },
        field_manager: how.manager.into(),
        ..WriteOptions::default()
    }
}

fn deletion(options: &Value) -> DeleteOptions {
    DeleteOptions {
        grace_period_s: options["gracePeriodSeconds"].as_i64(),
        propagation: match options["propagationPolicy"].as_str() {
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            _ => None,
        },
        uid: options["preconditions"]["uid"].as_str().map(Into::into),
        revision: None,
        dry_run: options["dryRun"].is_array(),
    }
}
