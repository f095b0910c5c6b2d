//! `create token`: a token of a service account.

use crate::cli::failure::{Failure, Outcome, fail};
use crate::cli::printer::{Format, OutputArgs};
use crate::cli::session::Session;
use crate::cli::waiting::duration;
use kabuki_model::request::Request;
use kabuki_model::{ObjectKey, Resource};
use serde_json::{Value, json};

/// Arguments of `create token`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # For an hour, to be shown to the API\n  \
    kabuki create token robot\n\n  \
    # For ten minutes, to be shown to another service\n  \
    kabuki create token robot --duration 10m --audience https://vault.example\n\n  \
    # One that ends with a pod\n  \
    kabuki create token robot --bound-object-kind Pod --bound-object-name web-0")]
pub struct TokenArgs {
    /// The service account
    name: String,
    /// How long it is good (`10m` and more) [default: the server's, 1h]
    #[arg(long, default_value = "0s", hide_default_value = true)]
    duration: String,
    /// Whom it is shown to; several may be given [default: the API]
    #[arg(long, value_name = "NAME")]
    audience: Vec<String>,
    /// The kind of the object that it ends with: Pod, Secret or Node
    #[arg(
        long,
        value_name = "KIND",
        default_value = "",
        hide_default_value = true
    )]
    bound_object_kind: String,
    /// The object's name
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    bound_object_name: String,
    /// The object's uid, which it must then have
    #[arg(
        long,
        value_name = "UID",
        default_value = "",
        hide_default_value = true
    )]
    bound_object_uid: String,
    #[command(flatten)]
    output: OutputArgs,
}

impl TokenArgs {
    /// Runs it.
    pub async fn run(self, session: &Session) -> Outcome {
        let format = self.output.format()?;
        let request = Request::TokenRequest {
            account: ObjectKey::new(
                Resource::SERVICE_ACCOUNTS,
                &session.namespace()?,
                &self.name,
            ),
            object: self.request()?.to_string().into(),
            dry_run: false,
        };
        let answer = session.document(request).await?;
        if !matches!(format, Format::Human { .. }) {
            return format.value(&session.out, &answer, false);
        }
        match answer["status"]["token"].as_str() {
            Some(token) => session.out.line(token),
            None => Err(Failure::new("the server answered without a token")),
        }
    }

    fn request(&self) -> Outcome<Value> {
        let mut spec = json!({});
        let seconds = duration("--duration", &self.duration)?.as_secs();
        if seconds > 0 {
            spec["expirationSeconds"] = seconds.into();
        }
        if !self.audience.is_empty() {
            spec["audiences"] = self.audience.clone().into();
        }
        let kind = match self.bound_object_kind.as_str() {
            "" => {
                if !self.bound_object_name.is_empty() || !self.bound_object_uid.is_empty() {
                    fail!("--bound-object-kind is required with a name or uid");
                }
                ""
            }
            kind @ ("Pod" | "Secret" | "Node") => kind,
            other => {
                fail!("--bound-object-kind {other:?} is not supported: use Pod, Secret or Node")
            }
        };
        if !kind.is_empty() {
            if self.bound_object_name.is_empty() {
                fail!("--bound-object-name is required if --bound-object-kind is provided");
            }
            spec["boundObjectRef"] = json!({
                "apiVersion": "v1", "kind": kind, "name": self.bound_object_name,
                "uid": self.bound_object_uid,
            });
        }
        Ok(json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec,
        }))
    }
}
