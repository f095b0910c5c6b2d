//! `restore` and `recover`: what is done with a server's data directory while no node runs on it.

use super::backup;
use super::failure::{Failure, Outcome, fail};
use super::kubeconfig::data_dir;
use super::session::Session;
use super::terminal::is_interactive;
use anyhow::Context;
use kabuki_cluster::credentials::NodeKey;
use kabuki_cluster::{Credentials, Member};
use kabuki_model::view::View;
use kabuki_plane::admitting::Founding;
use kabuki_plane::admitting::charter::Charter;
use kabuki_plane::admitting::found::{FoundingArgs, refound};
use kabuki_plane::{state_dir, wal};
use kabuki_store::read_snapshot;
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The directory becomes that of the only server of the cluster, with the state of the \
    backup. Lost is every write that came after the backup; clients that saw later ones list \
    again. The other servers must not come back with what they have: reset them with `kabuki \
    reset` and let them join again. Workers find the cluster if the server has an address that \
    they know.\n\n\
    Examples:\n  \
    # On the server that made it, after its state was lost or moved away\n  \
    kabuki restore /var/backups/kabuki\n\n  \
    # On another machine\n  \
    kabuki restore kabuki-2030-01-01 --data-dir /var/lib/kabuki --name web-9 --address 10.0.0.9:6443"
)]
pub struct RestoreArgs {
    /// The file that `kabuki backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
    /// The node's name, on a machine that is none yet [default: the host's name]
    #[arg(long)]
    name: Option<String>,
    /// Where other nodes reach it, on a machine that is none yet
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

/// Arguments of `recover`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For a cluster that has lost the majority of its servers for good. The server of this \
    directory becomes the only one, with all that it has. What may be lost is a write that was \
    acknowledged after this server was last in touch with the others, and what may appear is one \
    that never was: so do it on the server that knows most (`--show` tells the last entry of each). \
    The other servers must not come back with what they have: reset them with `kabuki reset` and \
    let them join again.\n\n\
    Examples:\n  \
    kabuki recover --show\n  \
    kabuki recover --force-new-cluster"
)]
pub struct RecoverArgs {
    /// Make this server the only one of its cluster
    #[arg(long)]
    force_new_cluster: bool,
    /// Only tell how much this server knows
    #[arg(long, conflicts_with = "force_new_cluster")]
    show: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// The node's data directory [default: $KABUKI_DATA_DIR, else /var/lib/kabuki]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl PlaceArgs {
    fn dir(&self) -> Outcome<PathBuf> {
        let given = self.data_dir.clone().unwrap_or_else(data_dir);
        Ok(std::path::absolute(&given).with_context(|| given.display().to_string())?)
    }

    fn confirm(&self, session: &Session, what: &str) -> Outcome {
        if self.yes {
            return Ok(());
        }
        if !is_interactive() {
            fail!("{what}: confirm with --yes");
        }
        session.out.text(&format!("{what}. Go on? [y/N] "))?;
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => fail!("nothing was changed"),
        }
    }
}

/// Holds a data directory, which a running node does.
fn hold(dir: &Path) -> Outcome<Flock<File>> {
    let path = dir.join("daemon.pid");
    let cannot = || format!("cannot open {}", path.display());
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options.mode(0o644).open(&path).with_context(cannot)?;
    let holder = std::fs::read_to_string(&path).unwrap_or_default();
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        Failure::new(format!(
            "a node runs on {} (process {1}): stop it first, for example with `kill {1}`",
            dir.display(),
            holder.trim()
        ))
    })
}

fn local(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::from(anyhow::Error::new(error))
}

/// A number that no server had.
fn fresh_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// Runs `restore`.
pub async fn restore(session: &Session, args: RestoreArgs) -> Outcome {
    let dir = args.place.dir()?;
    let what = backup::check(&args.file)?;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(&dir);
    made.with_context(|| format!("cannot make {}", dir.display()))?;
    let _held = hold(&dir)?;
    let state = state_dir(&dir);
    if wal::server_id(&state).map_err(local)?.is_some() {
        fail!(
            "{0} holds a state already: move it away first (`mv {0} {0}.old`); it may be newer \
             than the backup",
            state.display()
        );
    }
    args.place.confirm(
        session,
        &format!(
            "This makes a cluster of one server at {} from {} ({what}). What was written after \
             the backup is lost, and the cluster's other servers must be reset before they join \
             again",
            dir.display(),
            args.file.display()
        ),
    )?;
    let file = File::open(&args.file).with_context(|| args.file.display().to_string())?;
    let restored = read_snapshot(BufReader::new(file)).map_err(local)?;
    let id = fresh_id();
    // The state comes last: until then, all of this is done again.
    match Member::load(&dir).map_err(local)? {
        Some(member) => again(&dir, member, Some(&restored.snapshot), id)?,
        None => {
            refound(&args.founding(&dir, id)?, &restored.snapshot).map_err(local)?;
        }
    }
    wal::restore(&state, &args.file, id).map_err(local)?;
    session.out.line(format!(
        "restored {what} to {}: start it with `kabuki node`",
        dir.display()
    ))
}

impl RestoreArgs {
    /// The ranges come from the backup.
    fn founding(&self, dir: &Path, id: u64) -> Outcome<FoundingArgs> {
        let Some(address) = &self.address else {
            fail!(
                "{} is no node's yet: give --address HOST:PORT, where the other nodes will reach it",
                dir.display()
            );
        };
        let host = address.rsplit_once(':').map(|(host, _)| host);
        let host = host.filter(|h| !h.is_empty());
        let Some(host) = host else {
            fail!("--address {address:?} is not of the form HOST:PORT");
        };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => nix::unistd::gethostname()
                .context("cannot read the host's name; give --name")?
                .to_string_lossy()
                .to_lowercase(),
        };
        let own: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let local = [[127, 0, 0, 1].into()];
        Ok(FoundingArgs {
            data_dir: dir.to_path_buf(),
            name,
            address: address.clone(),
            host_addresses: local.into_iter().chain(own).collect(),
            cluster_cidr: String::new(),
            node_prefix: 0,
            pod_cidr: None,
            service_cidr: String::new(),
            server_id: Some(id),
            program: PROGRAM.to_string(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
        })
    }
}

/// A member is the only server from its next start on, with another number.
fn again(dir: &Path, member: Member, backup: Option<&dyn View>, id: u64) -> Outcome {
    if member.server_id.is_none() {
        fail!(
            "{} is that of the worker {}: only a server has a state",
            dir.display(),
            member.name
        );
    }
    if let Some(view) = backup {
        let charter = Charter::read(view).map_err(local)?;
        if charter.cluster_id != member.cluster_id {
            fail!(
                "the backup is of the cluster {}, node {} is of the cluster {}: use another \
                 --data-dir",
                charter.cluster_id,
                member.name,
                member.cluster_id
            );
        }
    }
    let key = match Credentials::load(dir) {
        Ok(credentials) => credentials.key_sha256().to_string(),
        Err(error) => return Err(local(error)),
    };
    Founding::again(dir, member, &key, id, PROGRAM).map_err(local)
}

/// Runs `recover`.
pub async fn recover(session: &Session, args: RecoverArgs) -> Outcome {
    if !args.force_new_cluster && !args.show {
        fail!(
            "recover needs --force-new-cluster, which makes this server the only one of its \
             cluster, or --show: see `kabuki recover --help`"
        );
    }
    let dir = args.place.dir()?;
    if !dir.exists() {
        fail!("there is no node at {}: give --data-dir", dir.display());
    }
    let _held = hold(&dir)?;
    let state = state_dir(&dir);
    let Some(member) = Member::load(&dir).map_err(local)? else {
        fail!(
            "{} is no node's data directory: give --data-dir",
            dir.display()
        );
    };
    if member.server_id.is_none() {
        fail!(
            "node {} is a worker, and has no state to recover from: do it on a server",
            member.name
        );
    }
    let last = wal::last_index(&state).map_err(local)?;
    let known = format!("its last entry is {} of term {}", last.index, last.term);
    if args.show {
        return session.out.line(format!("server {}: {known}", member.name));
    }
    args.place.confirm(
        session,
        &format!(
            "This makes {} the only server of its cluster ({known}). Writes that it has not seen \
             are lost, and the cluster's other servers must be reset before they join again",
            member.name
        ),
    )?;
    let (name, id) = (member.name.clone(), fresh_id());
    // The key must be there before the state is changed.
    NodeKey::of(&dir).map_err(local)?;
    again(&dir, member, None, id)?;
    wal::force_single_voter(&state, id).map_err(|error| {
        Failure::new(format!(
            "{}: nothing is lost by it, but this server does not start before the same command \
             was done again",
            super::chain(&anyhow::Error::new(error))
        ))
    })?;
    session.out.line(format!(
        "{name} is the only server of its cluster now: start it with `kabuki node`, then reset \
         the others with `kabuki reset` and let them join with a new token"
    ))
}

#[cfg(test)]
mod tests;
