//! What `label`, `annotate`, `scale`, `set`, `patch` and `rollout` have in common: find objects,
//! change each by a patch, say what became of it.

use super::failure::{Failure, Outcome};
use super::resolver::{self, FileArgs, Found, SelectArgs};
use super::session::Session;
use super::write::WriteArgs;
use kabuki_model::patch::create_merge_patch;
use kabuki_model::request::PatchType;
use serde_json::{Value, json};

/// Which objects are changed, and how it is told.
#[derive(Debug, clap::Args)]
pub struct ChangeArgs {
    #[command(flatten)]
    pub files: FileArgs,
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub write: WriteArgs,
    /// All objects of the type
    #[arg(long)]
    pub all: bool,
    /// Change nothing on the server (an older form of --dry-run=client)
    #[arg(long)]
    pub local: bool,
}

impl ChangeArgs {
    /// Finds the objects that are meant.
    pub async fn find(&self, session: &Session, what: &[String]) -> Outcome<resolver::Findings> {
        if self.files.is_empty() && !self.all && !self.select.selects() {
            let wanted = resolver::parse(what)?;
            if wanted.iter().any(|w| w.names.is_empty()) {
                return Err(Failure::new(
                    "resource(s) were provided, but no name was specified: name them, select \
                     them with -l, or give --all",
                ));
            }
        }
        resolver::find_either(session, what, &self.select, &self.files).await
    }

    /// Changes every object that is found. `change` edits the object's value and says what it
    /// did, or what it would not do.
    pub async fn each(
        &self,
        session: &Session,
        what: &[String],
        change: impl Fn(&Found, &mut Value) -> Outcome<&'static str>,
    ) -> Outcome {
        let findings = self.find(session, what).await?;
        let mut failures = findings.failures;
        for found in &findings.found {
            match self.one(session, found, &change).await {
                Ok(()) => {}
                Err(failure @ (Failure::Server(_) | Failure::Local(_))) => failures.push(failure),
                Err(failure) => return Err(failure),
            }
        }
        Failure::gather(failures)
    }

    async fn one(
        &self,
        session: &Session,
        found: &Found,
        change: impl Fn(&Found, &mut Value) -> Outcome<&'static str>,
    ) -> Outcome {
        let before = found.object.to_value()?;
        let mut after = before.clone();
        let did = change(found, &mut after)?;
        let patch = create_merge_patch(&before, &after);
        if patch != json!({}) && !self.local && !self.write.dry_run().on_client() {
            let options = self.write.options();
            let changed = session
                .patch(found.key(), PatchType::Merge, &patch, options)
                .await?;
            after = changed.to_value()?;
        }
        self.write.done(session, found.kind, &after, did)
    }
}
