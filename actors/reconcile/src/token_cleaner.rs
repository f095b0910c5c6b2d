//! Bootstrap tokens go when they have expired (Kubernetes, "token cleaner").

use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::Timestamp;
use kabuki_model::bootstrap_token;
use kabuki_model::request::DeleteOptions;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};

/// The core of the controller that removes expired tokens.
pub(crate) struct TokenCleaner;

impl Reconciler for TokenCleaner {
    fn name(&self) -> &'static str {
        "token-cleaner"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::SECRETS]
    }

    fn keys(
        &self,
        _view: &dyn View,
        object: &Stored,
        _previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        match !removed && bootstrap_token::is_token(object) {
            true => vec![object.key.clone()],
            false => Vec::new(),
        }
    }

    /// A token whose end cannot be read is left alone: nobody joins by it, and a person may still
    /// want to see what is wrong with it.
    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let secret = view.get(key).filter(|s| bootstrap_token::is_token(s));
        let Some(secret) = secret else {
            return outcome;
        };
        match bootstrap_token::expiration(secret) {
            Ok(Some(at)) if at > now => outcome.look_again(at),
            Ok(Some(_)) => {
                let options = DeleteOptions {
                    // One that was made longer meanwhile stays.
                    revision: Some(secret.revision),
                    ..DeleteOptions::default()
                };
                outcome.request(requests::delete_with(secret, options));
            }
            Ok(None) | Err(_) => {}
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    /// `data` is base64; the world does not turn `stringData` into it.
    fn secret(name: &str, kind: &str, expiration: Option<&str>) -> Value {
        let mut value = json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "namespace": "kube-system"}, "data": {},
        });
        if let Some(expiration) = expiration {
            value["data"]["expiration"] = expiration.into();
        }
        value
    }

    #[test]
    fn a_token_goes_when_it_has_expired_and_nothing_else_does() {
        let mut world = World::new(vec![Box::new(TokenCleaner)]);
        // 2030-01-01T01:00:00Z, an hour after the world's beginning.
        let hour = "MjAzMC0wMS0wMVQwMTowMDowMFo=";
        let token = bootstrap_token::TYPE;
        let ends = world.create(secret("bootstrap-token-aaaaaa", token, Some(hour)));
        let others = [
            world.create(secret("bootstrap-token-bbbbbb", token, None)),
            world.create(secret("bootstrap-token-cccccc", token, Some("eA=="))),
            world.create(secret("bootstrap-token-dddddd", "Opaque", Some(hour))),
            world.create(secret("other", token, Some(hour))),
        ];
        world.settle();
        world.advance(SignedDuration::from_mins(59));
        assert!(world.view().get(&ends).is_some());
        world.advance(SignedDuration::from_mins(2));
        assert!(world.view().get(&ends).is_none());
        for other in others {
            assert!(world.view().get(&other).is_some(), "{other}");
        }
    }

    #[test]
    fn a_token_that_is_made_longer_stays_until_its_new_end() {
        let mut world = World::new(vec![Box::new(TokenCleaner)]);
        let hour = "MjAzMC0wMS0wMVQwMTowMDowMFo=";
        let two_hours = "MjAzMC0wMS0wMVQwMjowMDowMFo=";
        let kind = bootstrap_token::TYPE;
        let key = world.create(secret("bootstrap-token-aaaaaa", kind, Some(hour)));
        world.settle();
        world.change(&key, |s| s["data"]["expiration"] = two_hours.into());
        world.advance(SignedDuration::from_mins(90));
        assert!(world.view().get(&key).is_some());
        world.advance(SignedDuration::from_mins(31));
        assert!(world.view().get(&key).is_none());
    }
}
