//! Ranges of services' addresses (Kubernetes, "Extend Service IP Ranges"): a range that is being
//! deleted gives no more addresses, and stays until no service has one of it that no other range
//! covers.

use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::allocation::{AddressRange, SERVICE_CIDR_FINALIZER, held, ranges_of};
use kabuki_model::k8s_openapi::api::core::v1::Service;
use kabuki_model::k8s_openapi::api::networking::v1::ServiceCIDR;
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::json;

const IN_USE: &str = "There are still addresses of services in the ServiceCIDR, please remove the services or create another ServiceCIDR that covers them";

/// The core of the ServiceCIDR controller.
pub(crate) struct ServiceCidrs;

impl Reconciler for ServiceCidrs {
    fn name(&self) -> &'static str {
        "service-cidr-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::SERVICE_CIDRS, Resource::SERVICES]
    }

    fn keys(
        &self,
        view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        let deleting = view.scan(&Resource::SERVICE_CIDRS, None, None);
        let deleting = deleting.filter(|c| c.meta().deletion_timestamp.is_some());
        let mut keys: Vec<ObjectKey> = deleting.map(|c| c.key.clone()).collect();
        if object.key.resource == Resource::SERVICE_CIDRS {
            keys.retain(|k| *k != object.key);
            keys.push(object.key.clone());
        } else if !removed && previous.is_none() {
            // A new service has no address of a range that is being deleted.
            return Vec::new();
        }
        keys
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let Some(stored) = view.get(key) else {
            return outcome;
        };
        if stored.meta().deletion_timestamp.is_none() {
            say(
                stored,
                "True",
                "",
                "Kubernetes Service CIDR is ready",
                now,
                &mut outcome,
            );
            return outcome;
        }
        if is_needed(view, stored) {
            say(stored, "False", "Terminating", IN_USE, now, &mut outcome);
            return outcome;
        }
        let mut finalizers = stored.meta().finalizers.clone().unwrap_or_default();
        if finalizers.iter().any(|f| f == SERVICE_CIDR_FINALIZER) {
            finalizers.retain(|f| f != SERVICE_CIDR_FINALIZER);
            let without = json!({ "finalizers": finalizers });
            outcome.request(requests::patch(stored, without, None));
        }
        outcome
    }
}

/// Whether a service has an address of the range that no other range covers.
fn is_needed(view: &dyn View, stored: &Stored) -> bool {
    let others: Vec<AddressRange> = view
        .scan(&Resource::SERVICE_CIDRS, None, None)
        .filter(|c| c.key != stored.key && c.meta().deletion_timestamp.is_none())
        .flat_map(|c| ranges_of(c))
        .collect();
    let own = ranges_of(stored);
    let services = view.scan(&Resource::SERVICES, None, None);
    let typed = services.filter_map(|s| s.typed::<Service>().ok());
    let values = typed.flat_map(|s| held(&s));
    let mut addresses = values
        .filter(|(index, _)| *index == Index::ServiceAddress)
        .filter_map(|(_, text)| text.parse().ok());
    addresses.any(|a| own.iter().any(|r| r.holds(a)) && !others.iter().any(|r| r.holds(a)))
}

/// Sets the condition `Ready`, if it says something else.
fn say(
    stored: &Stored,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let Ok(object) = stored.typed::<ServiceCIDR>() else {
        return;
    };
    let held = object.status.as_ref().and_then(|s| s.conditions.as_deref());
    let mut held = held.unwrap_or_default().iter();
    let before = held.find(|c| c.type_ == "Ready");
    if before.is_some_and(|c| c.status == status && c.reason == reason) {
        return;
    }
    let condition = json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": requests::whole_second(now).to_string(),
    });
    let status = json!({ "conditions": [condition] });
    outcome.request(requests::patch_status(stored, status));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use kabuki_model::request::DeleteOptions;
    use serde_json::Value;

    fn range(name: &str, cidr: &str) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
            "metadata": {"name": name, "finalizers": [SERVICE_CIDR_FINALIZER]},
            "spec": {"cidrs": [cidr]},
        })
    }

    fn service(name: &str, address: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "a"},
            "spec": {"clusterIP": address, "clusterIPs": [address]},
        })
    }

    fn ready(world: &World, key: &ObjectKey) -> String {
        let object = world.get::<ServiceCIDR>(key);
        let conditions = object.status.clone().and_then(|s| s.conditions);
        conditions.expect("has some")[0].status.clone()
    }

    #[test]
    fn a_range_that_is_in_use_stays_until_it_is_not() {
        let mut world = World::new(vec![Box::new(ServiceCidrs)]);
        let key = world.create(range("more", "10.200.0.0/24"));
        let service = world.create(service("web", "10.200.0.9"));
        world.settle();
        assert_eq!(ready(&world, &key), "True");
        world.delete(&key, &DeleteOptions::default());
        world.settle();
        assert_eq!(ready(&world, &key), "False");
        world.remove(&service);
        world.settle();
        assert!(world.view().get(&key).is_none());
    }

    #[test]
    fn another_range_may_take_its_place() {
        let mut world = World::new(vec![Box::new(ServiceCidrs)]);
        let key = world.create(range("small", "10.200.0.0/24"));
        world.create(service("web", "10.200.0.9"));
        world.delete(&key, &DeleteOptions::default());
        world.settle();
        assert!(world.view().get(&key).is_some());
        world.create(range("large", "10.200.0.0/16"));
        world.settle();
        assert!(world.view().get(&key).is_none());
    }
}
