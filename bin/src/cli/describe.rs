//! `describe`: everything that matters about objects, and what happened to them lately.

mod config;
mod container;
mod document;
mod event;
mod node;
mod pod;
mod service;
mod volume;
mod workload;

use super::failure::{Failure, Outcome};
use super::resolver::{self, FileArgs, Found, SelectArgs};
use super::session::Session;
use document::Document;
pub use event::{seen as event_seen, sort as sort_events};
use jiff::Timestamp;
use kabuki_model::kind::Kind;
use kabuki_model::object::{Resource, Stored};
use kabuki_model::request::ListRequest;
use serde_json::Value;
use std::sync::Arc;

/// Arguments of `describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Why does a pod not run?\n  \
    kabuki describe pod web-1\n\n  \
    # Every pod whose name begins so\n  \
    kabuki describe pods web\n\n  \
    # By label, by manifest\n  \
    kabuki describe deploy -l app=web\n  \
    kabuki describe -f web.yaml")]
pub struct DescribeArgs {
    /// TYPE[,TYPE] [NAME..], or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    select: SelectArgs,
    /// Leave out what happened lately
    #[arg(
        long,
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    show_events: bool,
}

/// What is known beside the object itself.
struct Around {
    now: Timestamp,
    /// What happened to it; `None`: not to be shown.
    events: Option<Vec<Arc<Stored>>>,
    /// Objects that belong to it: a deployment's replica sets, a replica set's or node's pods, a
    /// service's endpoint slices.
    related: Vec<Value>,
}

/// Runs `describe`.
pub async fn run(session: &Session, args: DescribeArgs) -> Outcome {
    let findings = find(session, &args).await?;
    if findings.found.is_empty() && findings.failures.is_empty() {
        session.out.note(match args.select.all_namespaces {
            true => "No resources found".to_string(),
            false => format!("No resources found in {} namespace.", session.namespace()?),
        });
    }
    for (index, found) in findings.found.iter().enumerate() {
        if index > 0 {
            session.out.text("\n\n")?;
        }
        let around = around(session, found, args.show_events).await?;
        session
            .out
            .text(&described(found.kind, &found.object.to_value()?, &around))?;
    }
    Failure::gather(findings.failures)
}

/// A name that does not exist may be the beginning of names that do.
async fn find(session: &Session, args: &DescribeArgs) -> Outcome<resolver::Findings> {
    let mut findings =
        resolver::find_either(session, &args.what, &args.select, &args.files).await?;
    if !args.files.is_empty() || findings.failures.is_empty() || !findings.found.is_empty() {
        return Ok(findings);
    }
    let [wanted] = &resolver::parse(&args.what)?[..] else {
        return Ok(findings);
    };
    let [prefix] = wanted.names.as_slice() else {
        return Ok(findings);
    };
    let (_, all) = resolver::list(session, args.select.request(session, wanted.kind)?).await?;
    let kind = wanted.kind;
    let begins = all
        .into_iter()
        .filter(|o| o.key.name.starts_with(prefix.as_str()));
    let found: Vec<Found> = begins.map(|object| Found { kind, object }).collect();
    if !found.is_empty() {
        findings.found = found;
        findings.failures.clear();
    }
    Ok(findings)
}

async fn around(session: &Session, found: &Found, events: bool) -> Outcome<Around> {
    let wants_events = events && found.kind.resource != Resource::EVENTS;
    Ok(Around {
        now: Timestamp::now(),
        events: match wants_events {
            true => Some(event::of(session, found).await?),
            false => None,
        },
        related: related(session, found).await?,
    })
}

async fn related(session: &Session, found: &Found) -> Outcome<Vec<Value>> {
    let key = found.key();
    let mut request = match &found.kind.resource {
        resource if *resource == Resource::DEPLOYMENTS => {
            ListRequest::all(Resource::REPLICA_SETS, Some(&key.namespace))
        }
        resource if *resource == Resource::REPLICA_SETS => {
            ListRequest::all(Resource::PODS, Some(&key.namespace))
        }
        resource if *resource == Resource::NODES => ListRequest::all(Resource::PODS, None),
        resource if *resource == Resource::SERVICES => {
            return slices(session, &key.namespace, &key.name).await;
        }
        _ => return Ok(Vec::new()),
    };
    if found.kind.resource == Resource::NODES {
        request.fields = format!("spec.nodeName={}", key.name);
    } else {
        request.labels = super::pods::selector_of(found.kind, &found.object.to_value()?)?;
    }
    let (_, objects) = resolver::list(session, request).await?;
    let owned = |object: &&Arc<Stored>| {
        let mut owners = object.meta().owner_references.iter().flatten();
        found.kind.resource == Resource::NODES || owners.any(|o| *o.uid == *found.object.uid)
    };
    let values: Result<Vec<Value>, _> =
        objects.iter().filter(owned).map(|o| o.to_value()).collect();
    Ok(values?)
}

/// The endpoint slices of a service, whoever made them.
async fn slices(session: &Session, namespace: &str, service: &str) -> Outcome<Vec<Value>> {
    let mut request = ListRequest::all(Resource::ENDPOINT_SLICES, Some(namespace));
    request.labels = format!("{}={service}", kabuki_model::service::SERVICE_NAME_LABEL);
    let (_, objects) = resolver::list(session, request).await?;
    let values: Result<Vec<Value>, _> = objects.iter().map(|o| o.to_value()).collect();
    Ok(values?)
}

/// The whole text of an object.
fn described(kind: &Kind, value: &Value, around: &Around) -> String {
    let mut doc = Document::default();
    match &kind.resource {
        resource if *resource == Resource::PODS => pod::describe(&mut doc, value, around.now),
        resource if *resource == Resource::DEPLOYMENTS => {
            workload::deployment(&mut doc, value, &around.related);
        }
        resource if *resource == Resource::REPLICA_SETS => {
            workload::replica_set(&mut doc, value, &around.related);
        }
        resource if *resource == Resource::NODES => {
            node::describe(&mut doc, value, &around.related, around.now);
        }
        resource if *resource == Resource::NAMESPACES => config::namespace(&mut doc, value),
        resource if *resource == Resource::CONFIG_MAPS => config::config_map(&mut doc, value),
        resource if *resource == Resource::SECRETS => {
            config::secret(&mut doc, value);
            return doc.finish();
        }
        resource if *resource == Resource::SERVICE_ACCOUNTS => {
            config::service_account(&mut doc, value);
        }
        resource if *resource == Resource::SERVICES => {
            service::service(&mut doc, value, &around.related);
        }
        resource if *resource == Resource::ENDPOINT_SLICES => {
            service::endpoint_slice(&mut doc, value);
        }
        resource if *resource == Resource::ENDPOINTS => {
            service::endpoints_object(&mut doc, value);
        }
        _ => doc.whole(value),
    }
    if let Some(events) = &around.events {
        event::table(&mut doc, events, around.now);
    }
    doc.finish()
}

/// The text of a pod template.
pub fn template(template: &Value) -> String {
    let mut doc = Document::default();
    pod::template(&mut doc, template);
    doc.finish()
}

#[cfg(test)]
mod tests;
