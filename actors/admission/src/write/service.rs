//! Addresses and node ports of services (Kubernetes, "Service ClusterIP allocation" and "Type
//! NodePort"). The service itself is the claim: admission chooses values that nobody has in the
//! state that it sees, and the command requires that nobody has them when it is applied. A race
//! that is lost is admitted anew; a service that is gone holds nothing.

mod addresses;
mod ports;

use crate::admit::Context;
use kabuki_model::allocation::held;
use kabuki_model::command::Op;
use kabuki_model::k8s_openapi::api::core::v1::Service;
use kabuki_model::kind::AnyObject;
use kabuki_model::status::Cause;
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, StatusError};
use std::collections::BTreeSet;

/// How many values are looked up one by one before all services are read.
const PROBES: u32 = 64;

/// Who asks, and what it has already.
struct Claimant<'a> {
    view: &'a dyn View,
    key: &'a ObjectKey,
    had: BTreeSet<(Index, String)>,
    entropy: u128,
}

impl Claimant<'_> {
    /// Whether the claimant had the value before.
    fn has(&self, index: Index, value: &str) -> bool {
        self.had.iter().any(|(i, v)| *i == index && v == value)
    }

    /// Whether another service has the value.
    fn is_taken(&self, index: Index, value: &str) -> bool {
        let mut holders = self.view.indexed(index, value);
        holders.any(|o| o.key != *self.key)
    }

    /// Random bits for the choice of number `draw`.
    fn random(&self, draw: u32) -> u64 {
        let mixed = self.entropy ^ (self.entropy >> 64);
        let seed = (mixed as u64).wrapping_add(u64::from(draw).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The finaliser of SplitMix64: every bit of the seed counts for every bit of the result.
        let mut bits = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// Gives a service what it asks for and what its type needs; refuses what it cannot have. The
/// operations make sure that nobody else has it when the command is applied.
pub(super) fn claim(
    view: &dyn View,
    key: &ObjectKey,
    new: &mut dyn AnyObject,
    old: Option<&dyn AnyObject>,
    cx: &Context,
) -> Result<Vec<Op>, StatusError> {
    if key.resource != Resource::SERVICES {
        return Ok(Vec::new());
    }
    let before = old.and_then(|o| o.typed().downcast_ref::<Service>());
    let Some(service) = new.typed_mut().downcast_mut::<Service>() else {
        return Ok(Vec::new());
    };
    let claimant = Claimant {
        view,
        key,
        had: before.map(held).unwrap_or_default().into_iter().collect(),
        entropy: cx.entropy,
    };
    let Some(spec) = &mut service.spec else {
        return Ok(Vec::new());
    };
    let mut ops = addresses::settle(&claimant, spec)?;
    ports::settle(&claimant, spec)?;
    let fresh = held(service).into_iter();
    let fresh = fresh.filter(|entry| !claimant.had.contains(entry));
    ops.extend(fresh.map(|(index, value)| Op::Vacant {
        key: key.clone(),
        index,
        value: value.into(),
    }));
    Ok(ops)
}

fn refuse<T>(key: &ObjectKey, cause: Cause) -> Result<T, StatusError> {
    let resource = &key.resource;
    Err(StatusError::invalid(
        "Service",
        resource,
        &key.name,
        vec![cause],
    ))
}
