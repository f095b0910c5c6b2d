//! What every verb that writes has in common: dry runs, validation, output.

use super::failure::{Failure, Outcome};
use super::printer::{DryRun, DryRunArgs, Format, OutputArgs};
use super::session::Session;
use kabuki_model::kind::Kind;
use kabuki_model::request::{FieldValidation, WriteOptions};
use serde_json::Value;

/// Flags of verbs that write.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WriteArgs {
    #[command(flatten)]
    dry_run: DryRunArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// What becomes of fields that do not exist: strict refuses, warn tells, ignore says nothing
    #[arg(
        long,
        value_enum,
        default_value = "strict",
        default_missing_value = "strict",
        num_args = 0..=1,
        require_equals = true,
        value_name = "strict|warn|ignore"
    )]
    validate: Validate,
    /// Who is noted as the manager of the fields
    #[arg(
        long,
        default_value = "kabuki",
        hide_default_value = true,
        value_name = "NAME"
    )]
    field_manager: String,
}

/// `--validate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Validate {
    #[default]
    #[value(alias = "true")]
    Strict,
    Warn,
    #[value(alias = "false")]
    Ignore,
}

impl WriteArgs {
    /// `--dry-run`.
    pub fn dry_run(&self) -> DryRun {
        self.dry_run.dry_run
    }

    /// The form of output.
    pub fn format(&self) -> Outcome<Format> {
        self.output.format()
    }

    /// How the server is to write.
    pub fn options(&self) -> WriteOptions {
        WriteOptions {
            dry_run: self.dry_run().on_server(),
            validation: match self.validate {
                Validate::Strict => FieldValidation::Strict,
                Validate::Warn => FieldValidation::Warn,
                Validate::Ignore => FieldValidation::Ignore,
            },
            field_manager: self.field_manager.clone(),
            api_version: String::new(),
        }
    }

    /// Says what was done.
    pub fn done(&self, session: &Session, kind: &Kind, value: &Value, did: &str) -> Outcome {
        self.format()?
            .did(&session.out, kind, value, did, self.dry_run())
    }

    /// Creates an object, unless this is a dry run on this side, and says so.
    pub async fn create(
        &self,
        session: &Session,
        kind: &'static Kind,
        namespace: &str,
        mut value: Value,
    ) -> Outcome<Value> {
        self.format()?;
        if !self.dry_run().on_client() {
            let created = session
                .create(kind, namespace, &value, self.options())
                .await?;
            value = created.to_value()?;
        }
        self.done(session, kind, &value, "created")?;
        Ok(value)
    }
}

/// Writes the namespace into an object of a namespaced kind that does not name its own.
pub fn place(value: &mut Value, kind: &Kind, namespace: &str) {
    if !kind.names.namespaced || namespace.is_empty() {
        return;
    }
    let own = value["metadata"]["namespace"].as_str().unwrap_or_default();
    if own.is_empty() && value.is_object() {
        if !value["metadata"].is_object() {
            value["metadata"] = serde_json::json!({});
        }
        value["metadata"]["namespace"] = namespace.into();
    }
}

/// Whether a manifest's labels are what `--selector` asks for.
pub fn select_labels(selector: &str, value: &Value) -> Outcome<bool> {
    let selector: kabuki_model::LabelSelector = selector
        .parse()
        .map_err(|error| Failure::new(format!("--selector {selector:?}: {error}")))?;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let labels = value["metadata"]["labels"].as_object();
    let labels = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), text(v)));
    Ok(selector.is_empty() || selector.matches(&labels.collect()))
}
