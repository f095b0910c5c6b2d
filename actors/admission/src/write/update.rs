//! Updates and patches, of objects and of their subresources.

use super::managed::{self, Tracking};
use super::parts::{one_part, whole};
use super::{Written, check_place, decoded, node, scale, service};
use crate::admit::{Context, Verdict};
use crate::commit::{MODIFIED, shown};
use crate::draft::{self, Faults, Patched};
use bytes::Bytes;
use kabuki_model::command::{Expect, Op};
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::kind::{AnyObject, Kind, pod};
use kabuki_model::request::{Answer, PatchType, Subresource, WriteOptions};
use kabuki_model::status::Cause;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The field in which objects say who owns what.
const MANAGED: &[u8] = b"managedFields";

/// What is to be changed, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub key: &'a ObjectKey,
    pub subresource: Option<Subresource>,
    pub options: &'a WriteOptions,
}

pub(crate) fn patch(
    view: &dyn View,
    who: &Identity,
    target: Target,
    patch_type: PatchType,
    patch: &[u8],
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let Target {
        key, subresource, ..
    } = target;
    if let PatchType::Apply { force } = patch_type {
        return super::apply::apply(view, who, target, patch, force, cx);
    }
    let kind = draft::kind_of(&key.resource)?;
    let form = draft::form(kind, target.options)?;
    let current = view.get(key).ok_or_else(|| StatusError::not_found(key))?;
    let base = match subresource {
        Some(Subresource::Scale) => scale::read(current)?,
        _ => current.clone(),
    };
    // Few patches are about who owns what: only they get to see it.
    let owners = patch.windows(MANAGED.len()).any(|w| w == MANAGED);
    let base = match owners {
        true => base.to_value(),
        false => base.to_plain_value(),
    };
    let mut base = base.map_err(|e| StatusError::internal(format!("{e}: {}", e.source)))?;
    if let (Some(form), Some(fields)) = (form, base.as_object_mut()) {
        (form.show)(fields);
        fields.insert("apiVersion".to_string(), form.api_version().into());
    }
    let mut faults = Faults::default();
    let patch = draft::parse_patch(patch, patch_type, target.options, &mut faults)?;
    let patched = kabuki_model::patch::apply(patch_type, &base, &patch)
        .map_err(|e| StatusError::from(e).about(&key.resource, &key.name))?;
    let Value::Object(mut object) = patched else {
        return Err(StatusError::bad_request(
            "the patched object is not a JSON object",
        ));
    };
    let mut faults = faults.of_patch(Patched {
        how: patch_type,
        base: &base,
        patch: &patch,
    });
    if form.is_some() {
        draft::store(kind, &mut object, target.options, &mut faults)?;
    }
    // The current revision came along with the base; only one that the patch set itself is a
    // precondition.
    if let Some(Value::Object(meta)) = object.get_mut("metadata")
        && meta.get("resourceVersion").and_then(Value::as_str)
            == Some(&current.revision.to_string())
    {
        meta.remove("resourceVersion");
    }
    update(view, who, target, object, faults, cx)
}

/// Replaces an object.
pub(crate) fn replace(
    view: &dyn View,
    who: &Identity,
    target: Target,
    json: &[u8],
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let mut faults = Faults::default();
    let mut object = draft::parse(json, target.options, &mut faults)?;
    if target.subresource != Some(Subresource::Scale) {
        let kind = draft::kind_of(&target.key.resource)?;
        draft::store(kind, &mut object, target.options, &mut faults)?;
    }
    update(view, who, target, object, faults, cx)
}

fn update(
    view: &dyn View,
    who: &Identity,
    target: Target,
    mut object: Map<String, Value>,
    faults: Faults,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let key = target.key;
    let current = view.get(key).ok_or_else(|| StatusError::not_found(key))?;
    managed::check_manager(target.options, "UpdateOptions")?;
    let write = Write {
        pinned: check_preconditions(key, current, &object)?,
        tracking: Tracking::Write(managed::take_given(&mut object)),
        object,
        faults,
    };
    commit_update(view, who, target, write, cx)
}

/// The object as it is to be.
pub(super) struct Write<'a> {
    pub object: Map<String, Value>,
    /// Whether the caller named the revision that it changes.
    pub pinned: bool,
    pub tracking: Tracking,
    pub faults: Faults<'a>,
}

pub(super) fn commit_update(
    view: &dyn View,
    who: &Identity,
    target: Target,
    write: Write,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    let Target {
        key,
        subresource,
        options,
    } = target;
    let Write {
        mut object,
        pinned,
        tracking,
        mut faults,
    } = write;
    let kind = draft::kind_of(&key.resource)?;
    let current = view.get(key).ok_or_else(|| StatusError::not_found(key))?;
    let old = decoded(current)?;
    if key.resource == Resource::NODES {
        node::date_taints(&mut object, Some(&old.to_value()), cx);
    }
    let mut new = match subresource {
        Some(Subresource::Scale) => scale::write(kind, current, object, options, &mut faults)?,
        Some(
            Subresource::Status
            | Subresource::Finalize
            | Subresource::EphemeralContainers
            | Subresource::Resize,
        ) => one_part(kind, current, subresource, object, options, &mut faults)?,
        None => whole(kind, current, object, options, &mut faults)?,
    };
    check_place(key, &mut *new)?;
    keep_server_fields(&mut *new, &*old);
    node::restrict_update(who, key, &*new, &*old)?;
    let mut claims = Vec::new();
    match subresource {
        Some(Subresource::Status) => {
            let causes = new.validate_status(&*old);
            draft::refuse(kind, &*new, causes)?;
        }
        // What an ordinary update may not touch is exactly what this one is for.
        Some(Subresource::Finalize) => {
            let causes = new.validate();
            draft::refuse(kind, &*new, causes)?;
        }
        Some(Subresource::EphemeralContainers) => {
            new.default();
            check_pod(kind, &*new, &*old, pod::validate_ephemeral_update)?;
            count_generation(kind, &mut *new, &*old);
        }
        Some(Subresource::Resize) => {
            new.default();
            check_pod(kind, &*new, &*old, pod::validate_resize)?;
            count_generation(kind, &mut *new, &*old);
        }
        Some(Subresource::Scale) | None => {
            draft::check(kind, &mut *new, Some(&*old))?;
            check_finalizers(kind, &*new, &*old)?;
            claims = service::claim(view, key, &mut *new, Some(&*old), cx)?;
            count_generation(kind, &mut *new, &*old);
        }
    }
    let version = kind.api_version();
    let manager = managed::manager(who, options);
    let writer = managed::writer(kind, manager, &version, subresource, cx);
    let changed = Changed {
        current,
        claims,
        json: managed::updated(current, &*old, &*new, who, writer, tracking)?,
        gone: super::delete::nothing_keeps(&*new),
        pinned,
        scale: subresource == Some(Subresource::Scale),
        warnings: faults.into_warnings(),
    };
    changed.finish(options, cx)
}

/// Refuses what breaks the rules of pods, or those of a subresource of theirs.
fn check_pod(
    kind: &Kind,
    new: &dyn AnyObject,
    old: &dyn AnyObject,
    rule: fn(&Pod, &Pod) -> Vec<Cause>,
) -> Result<(), StatusError> {
    let mut causes = new.validate();
    let typed = |object| AnyObject::typed(object).downcast_ref::<Pod>();
    let (Some(pod), Some(was)) = (typed(new), typed(old)) else {
        return Err(StatusError::internal("it is no pod"));
    };
    causes.extend(rule(pod, was));
    draft::refuse(kind, new, causes)
}

/// The object's own preconditions: uid and resourceVersion. Says whether a revision was given.
pub(super) fn check_preconditions(
    key: &ObjectKey,
    current: &Stored,
    object: &Map<String, Value>,
) -> Result<bool, StatusError> {
    let field = |name: &str| {
        let given = object.get("metadata")?.get(name)?.as_str()?;
        (!given.is_empty()).then(|| given.to_string())
    };
    if let Some(uid) = field("uid").filter(|uid| **uid != *current.uid) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            current.uid
        );
        return Err(StatusError::conflict(key, &why));
    }
    match field("resourceVersion") {
        None => Ok(false),
        Some(given) => match given.parse::<u64>() {
            Ok(revision) if revision == current.revision => Ok(true),
            Ok(_) => Err(StatusError::conflict(key, MODIFIED)),
            Err(_) => Err(StatusError::bad_request(format!(
                "metadata.resourceVersion: {given:?} is no revision"
            ))),
        },
    }
}

/// What no client may change.
fn keep_server_fields(new: &mut dyn AnyObject, old: &dyn AnyObject) {
    let (meta, was) = (new.meta_mut(), old.meta());
    meta.name.clone_from(&was.name);
    meta.namespace.clone_from(&was.namespace);
    meta.uid.clone_from(&was.uid);
    meta.creation_timestamp.clone_from(&was.creation_timestamp);
    meta.deletion_timestamp.clone_from(&was.deletion_timestamp);
    meta.deletion_grace_period_seconds = was.deletion_grace_period_seconds;
    meta.generate_name.clone_from(&was.generate_name);
    meta.generation = was.generation;
    meta.managed_fields = None;
    meta.self_link = None;
    meta.resource_version = None;
}

/// A deleted object gets no new finalizers.
fn check_finalizers(
    kind: &Kind,
    new: &dyn AnyObject,
    old: &dyn AnyObject,
) -> Result<(), StatusError> {
    if old.meta().deletion_timestamp.is_none() {
        return Ok(());
    }
    let none = Vec::new();
    let had = old.meta().finalizers.as_ref().unwrap_or(&none);
    let added: Vec<&String> = new
        .meta()
        .finalizers
        .iter()
        .flatten()
        .filter(|f| !had.contains(f))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
    );
    draft::refuse(
        kind,
        new,
        vec![Cause::forbidden("metadata.finalizers", &detail)],
    )
}

fn count_generation(kind: &Kind, new: &mut dyn AnyObject, old: &dyn AnyObject) {
    if kind.has_generation && new.to_value().get("spec") != old.to_value().get("spec") {
        let meta = new.meta_mut();
        meta.generation = Some(meta.generation.unwrap_or(0) + 1);
    }
}

/// A changed object.
struct Changed<'a> {
    current: &'a Arc<Stored>,
    /// What must hold beside.
    claims: Vec<Op>,
    json: Bytes,
    /// Whether nothing keeps it any more.
    gone: bool,
    pinned: bool,
    scale: bool,
    warnings: Vec<String>,
}

impl Changed<'_> {
    /// Writes the object; or removes it, when the last thing that kept a deleted object is gone;
    /// or nothing, when nothing changed.
    fn finish(self, options: &WriteOptions, cx: &Context) -> Result<Verdict, StatusError> {
        let current = self.current;
        if self.json.len() > draft::MAX_OBJECT_BYTES {
            return Err(draft::too_large(self.json.len()));
        }
        if self.json == current.json && !self.gone {
            return Ok(Verdict::Answer(Answer {
                warnings: self.warnings,
                ..Answer::object(shown(current.clone(), self.scale)?)
            }));
        }
        let key = current.key.clone();
        let expect = Expect::Revision(current.revision);
        let ops = match self.gone && !options.dry_run {
            true => vec![Op::Delete { key, expect }],
            false => {
                let mut ops = self.claims;
                ops.push(Op::Put {
                    key,
                    uid: current.uid.clone(),
                    json: self.json,
                    expect,
                });
                ops
            }
        };
        let written = Written {
            ops,
            warnings: self.warnings,
            retry: !self.pinned,
            creates: false,
            scale: self.scale,
        };
        written.verdict(options, cx, current.revision)
    }
}
