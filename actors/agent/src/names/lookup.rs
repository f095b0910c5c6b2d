//! Lookups for people.

use super::NamesHandle;
use super::actor::now_s;
use kabuki_dns::lookup::{Lookup, Source, kind_of, lookup};
use kabuki_dns::resolv_conf::{candidates, nameservers};
use kabuki_dns::wire::{Name, NameError};
use kabuki_protocol::node::NameAnswer;
use std::net::IpAddr;

/// Why a name cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("there is no type of record {0:?}: use A, AAAA, SRV, PTR, CNAME, TXT or another one")]
    Kind(String),
    #[error("the cluster's name server does not run on this node")]
    NotRunning,
    #[error(
        "the pod asks {0} and not the cluster's name server (see its dnsPolicy and dnsConfig): \
         look the name up inside the pod"
    )]
    OtherServer(IpAddr),
    #[error("the pod has no name server: its dnsConfig names none")]
    NoServer,
}

impl NamesHandle {
    /// Looks a name up as a pod with this `/etc/resolv.conf` would; without one, the name alone.
    pub async fn lookup(
        &self,
        name: &str,
        kind: &str,
        file: Option<&str>,
    ) -> Result<NameAnswer, LookupError> {
        let server = self.shared.server().ok_or(LookupError::NotRunning)?;
        let number = kind_of(kind).ok_or_else(|| LookupError::Kind(kind.to_string()))?;
        let names = match file {
            None => vec![name.to_string()],
            Some(file) => {
                match nameservers(file).first() {
                    Some(own) if self.shared.addresses.contains(own) => {}
                    Some(other) => return Err(LookupError::OtherServer(*other)),
                    None => return Err(LookupError::NoServer),
                }
                candidates(file, name)
            }
        };
        let (mut tried, mut last) = (Vec::new(), None);
        for name in &names {
            let name = Name::from_text(name)?;
            let found = lookup(&server, &name, number).await;
            tried.push((name.to_string(), found.code.to_string()));
            let done = !found.records.is_empty() || found.code == "SERVFAIL";
            last = Some(found);
            if done {
                break;
            }
        }
        let last = last.ok_or(LookupError::NotRunning)?;
        Ok(answer(tried, last))
    }
}

fn answer(tried: Vec<(String, String)>, found: Lookup) -> NameAnswer {
    let (source, server) = match found.source {
        Source::Zone => ("zone", None),
        Source::Cache(server) => ("cache", Some(server)),
        Source::Stale(server) => ("stale cache", Some(server)),
        Source::Upstream(server) => ("upstream", Some(server)),
        Source::Nobody => ("nobody", None),
    };
    let changed = found.changed_at_s.filter(|_| found.source == Source::Zone);
    NameAnswer {
        tried,
        records: found.records,
        source: source.to_string(),
        server: server.map(|s| s.to_string()),
        age_s: changed
            .map(|at| now_s().saturating_sub(at))
            .or(found.kept_s),
    }
}
