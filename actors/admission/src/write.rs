//! The writes, one file each.

mod account;
mod apply;
mod bind;
mod create;
mod delete;
mod ephemeral;
mod evict;
mod managed;
mod mirror;
mod node;
mod parts;
mod resize;
mod runtime_class;
mod scale;
mod service;
mod update;

pub(crate) use bind::bind;
pub(crate) use create::create;
pub(crate) use delete::{delete, delete_collection};
pub(crate) use evict::evict;
pub(crate) use scale::read as scale_of;
pub(crate) use update::{Target, patch, replace};

use crate::admit::{Context, Verdict};
use crate::commit::{Commit, shown};
use kabuki_model::command::{Command, Op};
use kabuki_model::kind::AnyObject;
use kabuki_model::request::{Answer, WriteOptions};
use kabuki_model::{ObjectKey, StatusError, Stored};
use std::sync::Arc;

/// What a write comes to: the command, or for a dry run the object as it would be.
struct Written {
    ops: Vec<Op>,
    warnings: Vec<String>,
    retry: bool,
    creates: bool,
    scale: bool,
}

impl Written {
    fn verdict(
        self,
        options: &WriteOptions,
        cx: &Context,
        revision: u64,
    ) -> Result<Verdict, StatusError> {
        if options.dry_run
            && let Some(Op::Put { key, uid, json, .. }) = self.ops.last()
        {
            let object = Stored::new(key.clone(), uid.clone(), revision, json.clone());
            return Ok(Verdict::Answer(Answer {
                warnings: self.warnings,
                ..Answer::object(shown(Arc::new(object), self.scale)?)
            }));
        }
        Ok(Verdict::Commit(Commit {
            command: Command {
                term: cx.term,
                ops: self.ops,
            },
            warnings: self.warnings,
            retry: self.retry,
            creates: self.creates,
            scale: self.scale,
        }))
    }
}

/// The typed form of a stored object, for rules that compare with it.
fn decoded(stored: &Stored) -> Result<Box<dyn AnyObject>, StatusError> {
    let kind = crate::draft::kind_of(&stored.key.resource)?;
    let decoded = kind.decode_stored(stored);
    decoded
        .map_err(|e| StatusError::internal(format!("stored {} cannot be decoded: {e}", stored.key)))
}

/// Checks that the object's own name and namespace are those of the request.
fn check_place(key: &ObjectKey, object: &mut dyn AnyObject) -> Result<(), StatusError> {
    let meta = object.meta_mut();
    if let Some(name) = meta.name.as_deref().filter(|n| **n != *key.name) {
        return Err(StatusError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the request ({})",
            key.name
        )));
    }
    check_namespace(&key.namespace, object)
}

fn check_namespace(namespace: &str, object: &mut dyn AnyObject) -> Result<(), StatusError> {
    let meta = object.meta_mut();
    let given = meta.namespace.as_deref().unwrap_or_default();
    if !given.is_empty() && given != namespace {
        return Err(StatusError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the \
             request: {given:?} is not {namespace:?}"
        )));
    }
    meta.namespace = (!namespace.is_empty()).then(|| namespace.to_string());
    Ok(())
}
