//! What is served, as clients ask for it: groups, versions, resources (API concepts, "Discovery
//! API"), in the older forms and aggregated. All of it comes from the registry of kinds.

mod aggregated;
mod resources;

pub use resources::group_versions;

use crate::error;
use crate::request::Context;
use crate::response::{JSON, Response, answer, full};
use http::StatusCode;
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use kabuki_model::StatusError;
use resources::{is_served, resource_list};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// `/version`
pub fn version(context: &Context) -> Result<Response, StatusError> {
    let version = context.front.version();
    let (major, minor) = version
        .kubernetes
        .trim_start_matches('v')
        .split_once('.')
        .unwrap_or(("1", "0"));
    let value = json!({
        "major": major, "minor": minor,
        "gitVersion": format!("{}.0+kabuki-{}", version.kubernetes, version.kabuki),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "",
        "goVersion": "", "compiler": "rustc", "platform": version.platform,
    });
    Ok(answer(StatusCode::OK, JSON, full(value.to_string())))
}

/// `/`
pub fn paths(context: &Context) -> Result<Response, StatusError> {
    let mut paths = vec!["/api".to_string(), "/apis".to_string()];
    for (group, version) in group_versions() {
        match group {
            "" => paths.push(format!("/api/{version}")),
            group => {
                paths.push(format!("/apis/{group}"));
                paths.push(format!("/apis/{group}/{version}"));
            }
        }
    }
    for endpoint in ["healthz", "livez", "readyz"] {
        paths.push(format!("/{endpoint}"));
        for check in context.front.checks() {
            paths.push(format!("/{endpoint}/{}", check.name));
        }
    }
    paths.extend(["/metrics", "/openapi/v2", "/openapi/v3", "/version"].map(str::to_string));
    paths.sort();
    paths.dedup();
    discovered(context, &json!({"paths": paths}))
}

/// `/api`: the versions of the core group.
pub fn legacy(context: &Context) -> Result<Response, StatusError> {
    if let Some(form) = aggregated::wanted(context.header(ACCEPT)) {
        return aggregated::answered(context, form, &[""]);
    }
    let address = context.header(http::header::HOST).unwrap_or_default();
    let value = json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    });
    discovered(context, &value)
}

/// `/apis`: all other groups.
pub fn groups(context: &Context) -> Result<Response, StatusError> {
    let names = resources::groups();
    if let Some(form) = aggregated::wanted(context.header(ACCEPT)) {
        return aggregated::answered(context, form, &names);
    }
    let groups: Vec<Value> = names.iter().map(|name| group_value(name)).collect();
    let value = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
    discovered(context, &value)
}

/// `/apis/GROUP`
pub fn group(context: &Context, name: &str) -> Result<Response, StatusError> {
    let known = resources::groups().into_iter().find(|g| *g == name);
    let mut value = group_value(known.ok_or_else(error::no_such_path)?);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    discovered(context, &value)
}

/// `/api/v1` and `/apis/GROUP/VERSION`
pub fn resources(context: &Context, group: &str, version: &str) -> Result<Response, StatusError> {
    if !is_served(group, version) {
        return Err(error::no_such_path());
    }
    discovered(context, &resource_list(group, version))
}

fn group_value(name: &str) -> Value {
    let versions: Vec<Value> = group_versions()
        .into_iter()
        .filter(|(group, _)| *group == name)
        .map(|(group, version)| {
            json!({"groupVersion": format!("{group}/{version}"), "version": version})
        })
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

fn discovered(context: &Context, value: &Value) -> Result<Response, StatusError> {
    Ok(tagged(context, JSON, value.to_string()))
}

/// An answer that changes rarely: clients keep it, and ask whether it is still good.
fn tagged(context: &Context, content_type: HeaderValue, text: String) -> Response {
    let digest = Sha256::digest(&text);
    let tag: String = digest.iter().map(|b| format!("{b:02X}")).collect();
    let tag = format!("\"{tag}\"");
    let known = context.header(IF_NONE_MATCH).is_some_and(|given| {
        let mut given = given.split(',');
        given.any(|g| g.trim().trim_start_matches("W/") == tag)
    });
    let mut response = match known {
        true => {
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => answer(StatusCode::OK, content_type, full(text)),
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
        .extensions_mut()
        .insert(crate::compression::Compressible);
    response
}
