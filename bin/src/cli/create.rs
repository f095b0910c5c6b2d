//! `create` and `replace`: objects from manifests, or from a few words.

mod config;
mod service;
mod simple;
mod token;

use super::failure::{Failure, Outcome, fail};
use super::resolver::{FileArgs, Found, Locate, read_manifests};
use super::session::Session;
use super::waiting::{Limit, until_gone};
use super::write::{WriteArgs, place};
use kabuki_model::patch::set_last_applied;
use kabuki_model::request::DeleteOptions;

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    # From a manifest\n  \
    kabuki create -f web.yaml\n\n  \
    # From a few words\n  \
    kabuki create deployment web --image=web:1 --replicas=3\n  \
    kabuki create configmap settings --from-literal=color=red --from-file=app.conf\n\n  \
    # As a manifest, to be edited\n  \
    kabuki create deployment web --image=web:1 --dry-run=client -o yaml"
)]
pub struct CreateArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// Note in the object what was created, so that apply can change it later
    #[arg(long)]
    save_config: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A namespace
    #[command(visible_alias = "ns")]
    Namespace(simple::NamespaceArgs),
    /// A configmap
    #[command(visible_alias = "cm")]
    Configmap(config::ConfigMapArgs),
    /// A secret
    Secret(config::SecretArgs),
    /// A deployment
    #[command(visible_alias = "deploy")]
    Deployment(simple::DeploymentArgs),
    /// A service account
    #[command(visible_alias = "sa")]
    Serviceaccount(simple::ServiceAccountArgs),
    /// A service
    #[command(visible_alias = "svc")]
    Service(service::ServiceArgs),
    /// A token of a service account
    Token(token::TokenArgs),
}

/// Runs `create`.
pub async fn run(session: &Session, args: CreateArgs) -> Outcome {
    match args.what {
        Some(What::Namespace(args)) => args.run(session).await,
        Some(What::Configmap(args)) => args.run(session).await,
        Some(What::Secret(args)) => args.run(session).await,
        Some(What::Deployment(args)) => args.run(session).await,
        Some(What::Serviceaccount(args)) => args.run(session).await,
        Some(What::Service(args)) => args.run(session).await,
        Some(What::Token(args)) => args.run(session).await,
        None => from_files(session, &args).await,
    }
}

async fn from_files(session: &Session, args: &CreateArgs) -> Outcome {
    let mut failures = Vec::new();
    for mut manifest in read_manifests(&args.files, &mut failures)? {
        let (kind, key) = match manifest.locate(session) {
            Ok(located) => located,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        place(&mut manifest.value, kind, &key.namespace);
        if args.save_config {
            set_last_applied(&mut manifest.value);
        }
        match args
            .write
            .create(session, kind, &key.namespace, manifest.value)
            .await
        {
            Ok(_) => {}
            Err(failure @ Failure::Server(_)) => {
                failures.push(failure.during("creating", &manifest.source));
            }
            Err(failure) => return Err(failure),
        }
    }
    Failure::gather(failures)
}

/// Arguments of `replace`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Replace an object by what a manifest says, in place\n  \
    kabuki replace -f web.yaml\n\n  \
    # Delete it and create it anew\n  \
    kabuki replace --force -f web.yaml")]
pub struct ReplaceArgs {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// Delete the object and create it anew
    #[arg(long)]
    force: bool,
    /// With --force: seconds to end in order; -1 is the object's own
    #[arg(long, default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
    grace_period: i64,
    /// With --force: how long to wait for the old object to go; 0 is as long as it takes
    #[arg(
        long,
        default_value = "0s",
        hide_default_value = true,
        value_name = "DURATION"
    )]
    timeout: String,
    /// Note in the object what was written, so that apply can change it later
    #[arg(long)]
    save_config: bool,
}

/// Runs `replace`.
pub async fn replace(session: &Session, args: ReplaceArgs) -> Outcome {
    let limit = Limit::parse("--timeout", &args.timeout)?;
    let dry = args.write.dry_run();
    let mut failures = Vec::new();
    for mut manifest in read_manifests(&args.files, &mut failures)? {
        let (kind, key) = match manifest.locate(session) {
            Ok(located) => located,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        if manifest.name.is_empty() {
            fail!(
                "{}: metadata.name is needed to replace an object",
                manifest.source
            );
        }
        place(&mut manifest.value, kind, &key.namespace);
        if args.save_config {
            set_last_applied(&mut manifest.value);
        }
        if dry.on_client() {
            args.write
                .done(session, kind, &manifest.value, "replaced")?;
            continue;
        }
        let work = async {
            if args.force && !dry.on_server() {
                if let Some(object) = session.find(&key).await? {
                    let options = DeleteOptions {
                        grace_period_s: (args.grace_period >= 0).then_some(args.grace_period),
                        ..DeleteOptions::default()
                    };
                    session.delete(&key, options).await?;
                    until_gone(session, &Found { kind, object }, &limit).await?;
                }
                let options = args.write.options();
                return session
                    .create(kind, &key.namespace, &manifest.value, options)
                    .await;
            }
            session
                .update(&key, None, &manifest.value, args.write.options())
                .await
        };
        match work.await {
            Ok(object) => args
                .write
                .done(session, kind, &object.to_value()?, "replaced")?,
            Err(failure @ Failure::Server(_)) => {
                failures.push(failure.during("replacing", &manifest.source));
            }
            Err(failure) => return Err(failure),
        }
    }
    Failure::gather(failures)
}
