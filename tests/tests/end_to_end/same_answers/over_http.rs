//! The cases over HTTP.

use super::{Ask, How, Selected, refused};
use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use kabuki_model::Resource;
use kabuki_model::kind;
use kabuki_model::request::PatchType;
use kabuki_tests::harness::{Reply, Web};
use serde_json::{Value, json};

pub struct OverHttp<'a> {
    pub web: Web<'a>,
    pub namespace: &'static str,
}

impl OverHttp<'_> {
    pub async fn ask(&self, ask: &Ask) -> anyhow::Result<Value> {
        let json = "application/json";
        Ok(match ask {
            Ask::List(resource, selected, limit) => self.pages(resource, *selected, *limit).await?,
            Ask::Table(resource) => self.table(resource).await?,
            Ask::Watch(resource, selected, count) => {
                self.events(resource, *selected, *count).await?
            }
            Ask::Create(resource, object, how) => {
                let path = self.path(resource, "") + "?" + &query(*how);
                let reply = self.send(Method::POST, &path, json, object).await?;
                shown(&reply)?
            }
            Ask::Get(resource, name) => {
                let path = self.path(resource, name);
                shown(&self.send(Method::GET, &path, json, &Value::Null).await?)?
            }
            Ask::GetPart(resource, name, part) => {
                let path = self.path(resource, name) + "/" + part;
                shown(&self.send(Method::GET, &path, json, &Value::Null).await?)?
            }
            Ask::Replace(resource, name, object, how) => {
                let path = self.path(resource, name) + "?" + &query(*how);
                shown(&self.send(Method::PUT, &path, json, object).await?)?
            }
            Ask::Patch(resource, name, patch_type, patch, how) => {
                let (media, more) = match patch_type {
                    PatchType::Json => ("application/json-patch+json", ""),
                    PatchType::Merge => ("application/merge-patch+json", ""),
                    PatchType::Strategic => ("application/strategic-merge-patch+json", ""),
                    PatchType::Apply { force: true } => {
                        ("application/apply-patch+yaml", "&force=true")
                    }
                    PatchType::Apply { force: false } => ("application/apply-patch+yaml", ""),
                };
                let path = self.path(resource, name) + "?" + &query(*how) + more;
                shown(&self.send(Method::PATCH, &path, media, patch).await?)?
            }
            Ask::Delete(resource, name, options) => {
                let path = self.path(resource, name);
                deleted(&self.send(Method::DELETE, &path, json, options).await?)?
            }
            Ask::DeleteAll(resource, selected) => {
                let path = self.path(resource, "") + "?" + &selectors(*selected);
                deleted(&self.send(Method::DELETE, &path, json, &Value::Null).await?)?
            }
        })
    }

    fn path(&self, resource: &str, name: &str) -> String {
        let kind = kind::of(&Resource::named(resource)).expect("cases are about known kinds");
        let base = match kind.names.group {
            "" => format!("/api/{}", kind.names.version),
            group => format!("/apis/{group}/{}", kind.names.version),
        };
        let plural = kind.names.plural;
        let path = format!("{base}/namespaces/{}/{plural}", self.namespace);
        match name {
            "" => path,
            name => format!("{path}/{name}"),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        media: &str,
        accept: &str,
        body: &Value,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let body = match body {
            Value::Null => Bytes::new(),
            body => Bytes::from(body.to_string()),
        };
        let request = Request::builder().method(method).uri(path);
        let request = request.header("user-agent", "kabuki");
        let request = request.header("accept", accept);
        Ok(request
            .header("content-type", media)
            .body(Full::new(body))?)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: &Value,
    ) -> anyhow::Result<Reply> {
        let request = self.request(method, path, media, "application/json", body)?;
        self.web.send(request).await
    }

    async fn pages(&self, resource: &str, selected: Selected, limit: u32) -> anyhow::Result<Value> {
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let path = self.path(resource, "");
            let selectors = selectors(selected);
            let path = format!(
                "{path}?{selectors}&limit={limit}&continue={}",
                escaped(&token)
            );
            let json = "application/json";
            let reply = self.send(Method::GET, &path, json, &Value::Null).await?;
            let mut list: Value = serde_json::from_slice(&reply.body)?;
            if reply.code != 200 {
                return Ok(refused(&list));
            }
            let remaining = list["metadata"]["remainingItemCount"].take();
            pages.push(json!({"items": list["items"].take(), "remaining": remaining}));
            token = list["metadata"]["continue"]
                .as_str()
                .unwrap_or("")
                .to_string();
            if token.is_empty() {
                return Ok(pages.into());
            }
        }
    }

    /// What `kubectl get` prints.
    async fn table(&self, resource: &str) -> anyhow::Result<Value> {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let path = self.path(resource, "");
        let request = self.request(Method::GET, &path, "application/json", accept, &Value::Null)?;
        let reply = self.web.send(request).await?;
        let table: Value = serde_json::from_slice(&reply.body)?;
        if reply.code != 200 {
            return Ok(refused(&table));
        }
        let of = |field: &str| table[field].as_array().cloned().unwrap_or_default();
        let columns: Vec<String> = of("columnDefinitions")
            .iter()
            .map(|c| c["name"].as_str().unwrap_or("").to_uppercase())
            .collect();
        let cell = |cell: &Value| match cell {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let rows: Vec<Vec<String>> = of("rows")
            .iter()
            .map(|row| {
                row["cells"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(cell)
                    .collect()
            })
            .collect();
        let mut table = json!({"columns": columns, "rows": rows});
        without_age(&mut table);
        Ok(table)
    }

    async fn events(
        &self,
        resource: &str,
        selected: Selected,
        count: usize,
    ) -> anyhow::Result<Value> {
        let path = self.path(resource, "");
        let path = format!("{path}?{}&watch=true", selectors(selected));
        let json = "application/json";
        let request = self.request(Method::GET, &path, json, json, &Value::Null)?;
        let mut lines = self.web.lines(request).await?;
        let mut seen = Vec::new();
        while seen.len() < count {
            let event = lines.next().await?;
            if event["kind"] == "Status" {
                return Ok(refused(&event));
            }
            seen.push(event);
        }
        Ok(seen.into())
    }
}

/// How old something is depends on when one asks.
pub fn without_age(table: &mut Value) {
    let columns = table["columns"].as_array().cloned().unwrap_or_default();
    let Some(at) = columns.iter().position(|c| c == "AGE") else {
        return;
    };
    let mut rows = vec![table["columns"].take()];
    rows.extend(table["rows"].as_array().cloned().unwrap_or_default());
    for row in &mut rows {
        row.as_array_mut().map(|cells| cells.remove(at));
    }
    table["columns"] = rows.remove(0);
    table["rows"] = rows.into();
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (b as char).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn selectors(selected: Selected) -> String {
    let (labels, fields) = (escaped(selected.labels), escaped(selected.fields));
    format!("labelSelector={labels}&fieldSelector={fields}")
}

fn query(how: How) -> String {
    let validation = if how.lenient { "Warn" } else { "Strict" };
    let dry_run = if how.dry_run { "&dryRun=All" } else { "" };
    let manager = match how.manager {
        "" => String::new(),
        manager => format!("&fieldManager={manager}"),
    };
    format!("fieldValidation={validation}{dry_run}{manager}")
}

/// `299 - "text"`
fn warnings(reply: &Reply) -> anyhow::Result<Vec<String>> {
    let headers = reply.headers.get_all("warning").iter();
    let text = |header: &http::HeaderValue| -> anyhow::Result<String> {
        let quoted = header
            .to_str()?
            .strip_prefix("299 - ")
            .context("a warning")?;
        let text = quoted.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        Ok(text.context("it is quoted")?.replace("\\\"", "\""))
    };
    headers.map(text).collect()
}

fn shown(reply: &Reply) -> anyhow::Result<Value> {
    let body: Value = serde_json::from_slice(&reply.body)?;
    Ok(match reply.code {
        200 | 201 => json!({"answer": body, "warnings": warnings(reply)?}),
        _ => refused(&body),
    })
}

fn deleted(reply: &Reply) -> anyhow::Result<Value> {
    let body: Value = serde_json::from_slice(&reply.body)?;
    if !(200..300).contains(&reply.code) {
        return Ok(refused(&body));
    }
    let deleted = match (&body["items"], &body["details"]["name"]) {
        (Value::Array(items), _) => items
            .iter()
            .map(|o| o["metadata"]["name"].clone())
            .collect(),
        (_, Value::Null) => body["metadata"]["name"].clone(),
        (_, name) => name.clone(),
    };
    Ok(json!({"answer": {"deleted": deleted}, "warnings": warnings(reply)?}))
}
