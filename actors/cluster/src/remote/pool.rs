//! The sessions: one for each node and protocol.

use crate::credentials::Credentials;
use crate::dialer::{Dialer, Expected};
use crate::seams::Directory;
use kabuki_protocol::client::Client;
use kabuki_protocol::session;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;

/// How long the other may take to say hello.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// How often a session with open calls is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A session that gives no sign of life for so long is dead.
const PING_LIMIT: Duration = Duration::from_secs(3);
/// A session without calls is closed after this time.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

type Key = (String, Vec<u8>);

pub(super) struct Pool {
    dialer: Dialer,
    own_name: String,
    directory: Arc<dyn Directory>,
    program: String,
    sessions: Mutex<HashMap<Key, Arc<Entry>>>,
}

/// One session: asking for it waits while another asker opens it.
#[derive(Default)]
struct Entry {
    /// When the last attempt to open it failed, and why.
    opening: AsyncMutex<Option<(Instant, String)>>,
    client: Mutex<Option<Client>>,
}

impl Entry {
    fn live(&self) -> Option<Client> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client.as_ref().filter(|c| c.ended().is_none()).cloned()
    }

    fn set(&self, client: Option<Client>) -> Option<Client> {
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, client)
    }
}

impl Pool {
    pub(super) fn new(
        credentials: Credentials,
        directory: Arc<dyn Directory>,
        program: &str,
    ) -> Self {
        Self {
            own_name: credentials.name().to_string(),
            dialer: Dialer::new(credentials),
            directory,
            program: program.to_string(),
            sessions: Mutex::default(),
        }
    }

    pub(super) fn own_name(&self) -> &str {
        &self.own_name
    }

    pub(super) fn directory(&self) -> &dyn Directory {
        &*self.directory
    }

    /// A live session with `node`, opened if there is none. An error says why there is none; then
    /// nothing was sent.
    pub(super) async fn client(&self, node: &str, alpn: &[u8]) -> Result<Client, String> {
        let entry = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (node.to_string(), alpn.to_vec());
            sessions.entry(key).or_default().clone()
        };
        if let Some(client) = entry.live() {
            return Ok(client);
        }
        let asked = Instant::now();
        let mut failed = entry.opening.lock().await;
        // Somebody else may have opened it meanwhile, or have found out that it cannot be opened.
        if let Some(client) = entry.live() {
            return Ok(client);
        }
        if let Some((_, why)) = failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(why.clone());
        }
        let client = match self.open(node, alpn).await {
            Ok(client) => client,
            Err(why) => {
                // Once for each reason, however often it is tried.
                if failed.as_ref().is_none_or(|(_, before)| *before != why) {
                    tracing::warn!(node, why, "there is no session with a node");
                }
                *failed = Some((Instant::now(), why.clone()));
                return Err(why);
            }
        };
        *failed = None;
        entry.set(Some(client.clone()));
        tokio::spawn(watch_over(client.clone(), Arc::downgrade(&entry)));
        Ok(client)
    }

    async fn open(&self, node: &str, alpn: &[u8]) -> Result<Client, String> {
        let address = match self.directory.address(node) {
            Some(address) => Some(address),
            None => {
                let servers = self.directory.servers().into_iter();
                let mut named = servers.filter(|server| server.name == node);
                named.next().map(|server| server.address)
            }
        };
        let address =
            address.ok_or_else(|| format!("the address of node {node:?} is not known"))?;
        let expected = match alpn == session::ALPN {
            true => Expected::Server,
            false => Expected::Node,
        };
        let stream = self.dialer.dial(node, &address, alpn, expected).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let opening = tokio::time::timeout(OPEN_LIMIT, Client::open(stream, &self.program)).await;
        match opening {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(format!("node {node:?} at {address}: {error}")),
            Err(_) => Err(format!("node {node:?} at {address} does not say hello")),
        }
    }

    /// Ends every session with a node.
    pub(super) fn lost(&self, node: &str) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|(name, _), entry| {
            if name != node {
                return true;
            }
            if let Some(client) = entry.set(None) {
                client.abandon(&format!("node {node:?} is lost"));
            }
            false
        });
    }
}

/// Ends a session that gives no sign of life while somebody waits, or that nobody uses.
async fn watch_over(client: Client, entry: Weak<Entry>) {
    let mut used = Instant::now();
    loop {
        tokio::time::sleep(PING_EVERY).await;
        if client.ended().is_some() {
            break;
        }
        let Some(entry) = entry.upgrade() else {
            return;
        };
        if client.open_calls() == 0 {
            if used.elapsed() < IDLE_LIMIT {
                continue;
            }
            entry.set(None);
            return;
        }
        used = Instant::now();
        // Any answer is a sign of life, a refusal too.
        let ping = tokio::time::timeout(PING_LIMIT, client.version());
        if ping.await.is_err() {
            let node = client.node();
            tracing::debug!(node, "a session gives no sign of life");
            client.abandon(&format!("node {node:?} gives no sign of life"));
            break;
        }
    }
    // A newer session may be there already: only a dead one is taken away.
    if let Some(entry) = entry.upgrade()
        && entry.live().is_none()
    {
        entry.set(None);
    }
}
