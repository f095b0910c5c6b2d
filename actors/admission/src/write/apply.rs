//! Server-side apply: a configuration becomes a change of the object, or the object itself.

use super::managed::{self, Tracking};
use super::update::{Target, Write, check_preconditions, commit_update};
use super::{create, scale};
use crate::admit::{Context, Verdict};
use crate::draft::{self, Faults};
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::kind::Kind;
use kabuki_model::managed_fields::{self as fields, ApplyError};
use kabuki_model::request::{Answer, Subresource};
use kabuki_model::status::Cause;
use kabuki_model::view::View;
use serde_json::{Map, Value, json};

pub(super) fn apply(
    view: &dyn View,
    who: &Identity,
    target: Target,
    config: &[u8],
    force: bool,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let Target {
        key,
        subresource,
        options,
    } = target;
    if options.field_manager.is_empty() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(StatusError::invalid_options("PatchOptions", cause));
    }
    let kind = draft::kind_of(&key.resource)?;
    let mut faults = Faults::default();
    let config = read(kind, target, config, &mut faults)?;
    let api_version = kind.api_version();
    let writer = managed::writer(kind, &options.field_manager, &api_version, subresource, cx);
    let Some(writer) = writer else {
        return Err(StatusError::bad_request(format!(
            "{} cannot be applied by the server: the shapes of its fields are not known",
            kind.resource
        )));
    };
    let named = |error: ApplyError| match error {
        ApplyError::Invalid(why) => StatusError::bad_request(format!(
            "failed to create typed patch object ({}/{}; {api_version}, Kind={}): {why}",
            key.namespace, key.name, kind.names.kind
        )),
        conflicts => StatusError::from(conflicts),
    };
    let Some(current) = view.get(key) else {
        if subresource.is_some() {
            return Err(StatusError::not_found(key));
        }
        check_absent(target, &config)?;
        let applied = fields::apply(&writer, None, &Value::Object(config), Vec::new(), force);
        let Some(applied) = applied.map_err(named)? else {
            return Err(StatusError::internal("applying to nothing changed nothing"));
        };
        let Value::Object(object) = applied.object else {
            return Err(StatusError::internal("what was applied is no object"));
        };
        let draft = create::Draft {
            resource: &key.resource,
            namespace: &key.namespace,
            object,
            tracking: Tracking::Applied(applied.entries),
            faults,
        };
        return create::create_object(view, draft, options, who, cx);
    };
    let pinned = check_preconditions(key, current, &config)?;
    let live = current
        .to_plain_value()
        .map_err(|e| StatusError::internal(format!("{e}: {}", e.source)))?;
    let config = without_preconditions(config);
    let held = managed::held(current);
    let applied = fields::apply(&writer, Some(&live), &config, held, force).map_err(named)?;
    let Some(applied) = applied else {
        let scale = subresource == Some(Subresource::Scale);
        let shown = crate::commit::shown(current.clone(), scale)?;
        return Ok(Verdict::Answer(Answer::object(shown)));
    };
    let Value::Object(mut object) = applied.object else {
        return Err(StatusError::internal("what was applied is no object"));
    };
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("resourceVersion");
    }
    if subresource == Some(Subresource::Scale) {
        // What is written is the object itself, though nothing but its replicas may differ.
        object = scale::shown(&object);
    }
    let write = Write {
        object,
        pinned,
        tracking: Tracking::Applied(applied.entries),
        faults,
    };
    commit_update(view, who, target, write, cx)
}

/// The configuration, as far as it is applied: of the right type, without what the endpoint does
/// not write.
fn read(
    kind: &Kind,
    target: Target,
    config: &[u8],
    faults: &mut Faults,
) -> Result<Map<String, Value>, StatusError> {
    let mut config = draft::parse(config, target.options, faults)?;
    let key = target.key;
    let scale = target.subresource == Some(Subresource::Scale);
    if !scale {
        draft::store(kind, &mut config, target.options, faults)?;
    }
    faults.judge(kind, target.options)?;
    let (version, kind_name) = match scale {
        true => ("autoscaling/v1".to_string(), "Scale"),
        false => (kind.api_version(), kind.names.kind),
    };
    for (field, want) in [("apiVersion", &*version), ("kind", kind_name)] {
        match config.get(field).and_then(Value::as_str) {
            Some(given) if given == want => {}
            Some(given) => {
                return Err(StatusError::bad_request(format!(
                    "the {field} in the data ({given}) does not match the expected {field} ({want})"
                )));
            }
            None => {
                return Err(StatusError::bad_request(format!(
                    "error decoding the configuration: {field} is missing"
                )));
            }
        }
    }
    if managed::take_given(&mut config).is_some_and(|given| !given.is_null()) {
        return Err(StatusError::bad_request(
            "metadata.managedFields must be nil",
        ));
    }
    if scale {
        let replicas = config.get("spec").and_then(|s| s.get("replicas")).cloned();
        config.insert("apiVersion".to_string(), kind.api_version().into());
        config.insert("kind".to_string(), kind.names.kind.into());
        config.remove("status");
        config.insert("spec".to_string(), json!({"replicas": replicas}));
    }
    match target.subresource {
        Some(Subresource::Status) => {
            config
                .retain(|f, _| matches!(f.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
            keep_name_only(&mut config);
        }
        Some(
            Subresource::Scale
            | Subresource::Finalize
            | Subresource::EphemeralContainers
            | Subresource::Resize,
        ) => keep_name_only(&mut config),
        None if kind.has_status => {
            config.remove("status");
        }
        None => {}
    }
    name(&mut config, target)?;
    let mut config = Value::Object(config);
    kind.canonical_quantities(&mut config).map_err(|cause| {
        let mut error = StatusError::bad_request(format!("{}: {}", cause.field, cause.message));
        error.causes.push(cause);
        error.about(&key.resource, &key.name)
    })?;
    match config {
        Value::Object(config) => Ok(config),
        _ => Err(StatusError::internal("a configuration is no object")),
    }
}

/// Subresources leave the metadata alone.
fn keep_name_only(config: &mut Map<String, Value>) {
    const NAMES: &[&str] = &["name", "namespace", "uid", "resourceVersion"];
    if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
        metadata.retain(|field, _| NAMES.contains(&field.as_str()));
    }
}

/// The name and namespace are those of the request, and may be left out.
fn name(config: &mut Map<String, Value>, target: Target) -> Result<(), StatusError> {
    let key = target.key;
    let metadata = config.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(StatusError::bad_request("metadata is no object"));
    };
    for (field, want) in [("name", &*key.name), ("namespace", &*key.namespace)] {
        let given = metadata
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !given.is_empty() && given != want {
            return Err(StatusError::bad_request(format!(
                "the {field} of the object ({given}) does not match the {field} on the request \
                 ({want})"
            )));
        }
        match want {
            "" => metadata.remove(field),
            want => metadata.insert(field.to_string(), want.into()),
        };
    }
    Ok(())
}

/// Nothing can be required of an object that is not there.
fn check_absent(target: Target, config: &Map<String, Value>) -> Result<(), StatusError> {
    let given = |field: &str| {
        let value = config.get("metadata")?.get(field)?.as_str()?;
        (!value.is_empty()).then(|| value.to_string())
    };
    if let Some(uid) = given("uid") {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        return Err(StatusError::conflict(target.key, &why));
    }
    match given("resourceVersion") {
        Some(_) => Err(StatusError::not_found(target.key)),
        None => Ok(()),
    }
}

fn without_preconditions(mut config: Map<String, Value>) -> Value {
    if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
        metadata.remove("uid");
        metadata.remove("resourceVersion");
    }
    Value::Object(config)
}
