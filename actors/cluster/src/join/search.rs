//! Joining without an address: by whoever of the cluster answers on the local network.

use super::{JoinError, Newcomer, Token, Wish, join};
use crate::discovery::seek;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// An address that failed is tried again after this time.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How often it is said that the search goes on.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Seeks the token's cluster until a member admits this machine, or one says that the cluster
/// never will. Nothing is founded here, however long it takes.
pub async fn join_by_discovery(token: &Token, wish: &Wish) -> Result<Newcomer, JoinError> {
    let mut seeker = seek(token.ca_sha256());
    let mut failed: HashMap<String, Instant> = HashMap::new();
    tracing::info!("looking for the token's cluster on the local network");
    let mut say = tokio::time::interval_at(tokio::time::Instant::now() + SAY_EVERY, SAY_EVERY);
    loop {
        let address = tokio::select! {
            address = seeker.next() => address,
            _ = say.tick() => {
                match failed.is_empty() {
                    true => tracing::warn!("no member of the token's cluster has answered yet: still looking; --join ADDRESS asks one directly"),
                    false => tracing::warn!("members answered, but this machine could not join: still trying"),
                }
                continue;
            }
        };
        failed.retain(|_, at| at.elapsed() < RETRY_AFTER);
        if failed.contains_key(&address) {
            continue;
        }
        match join(std::slice::from_ref(&address), token, wish).await {
            Ok(newcomer) => return Ok(newcomer),
            Err(error) if error.is_final() => return Err(error),
            Err(error) => {
                tracing::warn!(address, %error, "cannot join through a member that answered");
                failed.insert(address, Instant::now());
            }
        }
    }
}
