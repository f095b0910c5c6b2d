//! Creation.

use super::managed::{self, Tracking};
use super::{Written, account, check_namespace, ephemeral, mirror, node, runtime_class, service};
use crate::admit::{Context, Verdict};
use crate::draft::{self, Faults};
use kabuki_model::command::{Expect, Op};
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kabuki_model::kind::{AnyObject, Kind, Scope};
use kabuki_model::request::WriteOptions;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};
use serde_json::{Map, Value, json};

/// How much of `generateName` is kept, so that the name fits a DNS label with its suffix.
const MAX_GENERATE_NAME: usize = 63 - 5;

/// An object to be created.
pub(super) struct Draft<'a> {
    pub resource: &'a Resource,
    pub namespace: &'a str,
    pub object: Map<String, Value>,
    pub tracking: Tracking,
    pub faults: Faults<'a>,
}

pub(crate) fn create(
    view: &dyn View,
    resource: &Resource,
    namespace: &str,
    json: &[u8],
    options: &WriteOptions,
    who: &Identity,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let mut faults = Faults::default();
    let mut object = draft::parse(json, options, &mut faults)?;
    let kind = draft::kind_of(resource)?;
    draft::store(kind, &mut object, options, &mut faults)?;
    let given = managed::take_given(&mut object);
    let draft = Draft {
        resource,
        namespace,
        object,
        tracking: Tracking::Write(given),
        faults,
    };
    create_object(view, draft, options, who, cx)
}

pub(super) fn create_object(
    view: &dyn View,
    draft: Draft,
    options: &WriteOptions,
    who: &Identity,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let Draft {
        resource,
        namespace,
        object: mut value,
        tracking,
        mut faults,
    } = draft;
    let kind = draft::kind_of(resource)?;
    check_scope(kind, namespace)?;
    managed::check_manager(options, "CreateOptions")?;
    if kind.has_status && !kind.status_on_create {
        let unwritten = value.remove("status");
        let unwritten = unwritten.map(|s| ("status".to_string(), s));
        draft::look_at(kind, unwritten.into_iter().collect(), options, &mut faults)?;
        // Kubernetes' own kinds always show one, and clients take it for granted.
        if kind.message().is_some() {
            value.insert("status".to_string(), json!({}));
        }
    }
    if let Some(Value::Object(meta)) = value.get("metadata")
        && meta
            .get("resourceVersion")
            .is_some_and(|v| !v.is_null() && v != "")
    {
        return Err(StatusError::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    if *resource == Resource::NODES {
        node::taint_new(&mut value);
        node::date_taints(&mut value, None, cx);
    }
    if *resource == Resource::PODS {
        account::add(view, namespace, &mut value, cx)?;
    }
    let mut object = draft::decode(kind, value, options, &mut faults)?;
    check_namespace(namespace, &mut *object)?;
    name(&mut *object, cx);
    stamp(kind, &mut *object, cx);
    node::restrict_create(view, who, resource, &*object)?;
    mirror::restrict(view, who, resource, &*object)?;
    runtime_class::add(view, &mut *object)?;
    ephemeral::refuse_at_creation(kind, &*object)?;
    draft::check(kind, &mut *object, None)?;
    let name = object.meta().name.clone().unwrap_or_default();
    let key = ObjectKey::new(resource.clone(), namespace, &name);
    let mut ops = Vec::new();
    if !namespace.is_empty() {
        ops.push(open_namespace(view, &key)?);
    }
    if view.get(&key).is_some() {
        return Err(StatusError::already_exists(&key));
    }
    ops.extend(service::claim(view, &key, &mut *object, None, cx)?);
    let version = kind.api_version();
    let writer = managed::writer(kind, managed::manager(who, options), &version, None, cx);
    let json = managed::created(&*object, who, writer, tracking)?;
    if json.len() > draft::MAX_OBJECT_BYTES {
        return Err(draft::too_large(json.len()));
    }
    ops.push(Op::Put {
        key,
        uid: object.meta().uid.clone().unwrap_or_default().into(),
        json,
        expect: Expect::Absent,
    });
    let written = Written {
        ops,
        warnings: faults.into_warnings(),
        // A generated name that is taken is drawn again.
        retry: false,
        creates: true,
        scale: false,
    };
    written.verdict(options, cx, 0)
}

fn check_scope(kind: &Kind, namespace: &str) -> Result<(), StatusError> {
    match (kind.scope(), namespace) {
        (Scope::Namespaced, "") => Err(StatusError::bad_request(format!(
            "an empty namespace may not be set during creation of {}",
            kind.resource
        ))),
        (Scope::Cluster, ns) if !ns.is_empty() => Err(StatusError::bad_request(format!(
            "{} do not live in namespaces, but {ns:?} was given",
            kind.resource
        ))),
        _ => Ok(()),
    }
}

/// A namespace that is there and takes new objects, as an operation that makes sure of it.
fn open_namespace(view: &dyn View, key: &ObjectKey) -> Result<Op, StatusError> {
    let namespace = ObjectKey::new(Resource::NAMESPACES, "", &key.namespace);
    let Some(stored) = view.get(&namespace) else {
        return Err(StatusError::not_found(&namespace));
    };
    // Events about what is being taken down may still be written, as in Kubernetes nothing else.
    if stored.meta().deletion_timestamp.is_some() {
        let why = format!(
            "unable to create new content in namespace {} because it is being terminated",
            key.namespace
        );
        return Err(StatusError::forbidden(&key.resource, &key.name, &why));
    }
    Ok(Op::Require {
        key: namespace,
        expect: Expect::Revision(stored.revision),
    })
}

fn name(object: &mut dyn AnyObject, cx: &Context) {
    let meta = object.meta_mut();
    let named = meta.name.as_deref().is_some_and(|n| !n.is_empty());
    if let Some(prefix) = meta
        .generate_name
        .as_deref()
        .filter(|p| !named && !p.is_empty())
    {
        let mut end = prefix.len().min(MAX_GENERATE_NAME);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        meta.name = Some(format!("{}{}", &prefix[..end], draft::name_suffix(cx)));
    }
}

/// What the server alone sets.
fn stamp(kind: &Kind, object: &mut dyn AnyObject, cx: &Context) {
    let meta = object.meta_mut();
    meta.uid = Some(draft::uid(cx));
    meta.creation_timestamp = Some(Time(whole_second(cx)));
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.self_link = None;
    meta.managed_fields = None;
    meta.resource_version = None;
    meta.generation = kind.has_generation.then_some(1);
}

/// `metav1.Time` has whole seconds.
pub(super) fn whole_second(cx: &Context) -> kabuki_model::k8s_openapi::jiff::Timestamp {
    let seconds = cx.now.as_second();
    kabuki_model::k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap_or(cx.now)
}
