//! The command line: an actor client of any node. `main` builds the arguments and calls [`run`];
//! everything else is below. It knows the API and the node streams of the protocol, and nothing
//! of the daemon.
//!
//! | module | what |
//! |---|---|
//! | `session` | the connection, the namespace and the output that every verb works with |
//! | `kubeconfig`, `connect` | which server, as whom; TLS |
//! | `resolver` | from arguments, selectors and files to objects |
//! | `printer`, `align` | every form of output |
//! | `waiting` | waiting for an object by watching it |
//! | `failure` | what is said when a command fails, and the exit code |
//! | the others | one verb each |

mod actors;
mod align;
mod api;
mod apply;
mod auth;
mod backup;
mod ca;
mod change;
mod config;
mod connect;
mod copy;
mod cordon;
mod create;
mod debug;
mod delete;
mod describe;
mod diff;
mod dns;
mod drain;
mod edit;
mod events;
mod exec;
mod explain;
mod expose;
mod failure;
#[cfg(test)]
mod fake;
mod get;
mod host;
mod image;
mod interact;
mod kubeconfig;
mod kubeconfig_for;
mod label;
mod logs;
mod members;
mod offline;
mod out;
mod patch;
mod pods;
mod port_forward;
mod printer;
mod resolver;
mod rollout;
mod run;
mod service;
mod session;
mod set;
mod taint;
mod terminal;
mod token;
mod top;
mod wait;
mod waiting;
mod write;

use clap::builder::{BoolishValueParser, Styles, ValueParser};
use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
pub use failure::chain;

use failure::Outcome;
use session::{Globals, Session};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make objects be as manifests say
    Apply(apply::ApplyArgs),
    /// Show what apply would change
    Diff(diff::DiffArgs),
    /// Create objects
    Create(create::CreateArgs),
    /// Make a service for the pods of something that is there
    Expose(expose::ExposeArgs),
    /// Replace objects
    Replace(create::ReplaceArgs),
    /// Show objects
    Get(get::GetArgs),
    /// Show everything that matters about objects
    Describe(describe::DescribeArgs),
    /// Delete objects
    Delete(delete::DeleteArgs),
    /// Change labels
    Label(label::LabelArgs),
    /// Change annotations
    Annotate(label::AnnotateArgs),
    /// Change parts of objects
    Patch(patch::PatchArgs),
    /// Change how many pods there are
    Scale(patch::ScaleArgs),
    /// Change images, variables and resources of a workload
    Set(set::SetArgs),
    /// Take no new pods on nodes
    Cordon(cordon::CordonArgs),
    /// Take new pods on nodes again
    Uncordon(cordon::UncordonArgs),
    /// Empty nodes for maintenance
    Drain(drain::DrainArgs),
    /// Change taints of nodes
    Taint(taint::TaintArgs),
    /// Follow, undo and restart rollouts
    Rollout(rollout::RolloutArgs),
    /// Wait until a condition holds
    Wait(wait::WaitArgs),
    /// Show what containers wrote
    Logs(logs::LogsArgs),
    /// Run a command in a container
    Exec(exec::ExecArgs),
    /// Add a container with other tools to a running pod
    Debug(debug::DebugArgs),
    /// Run one pod from a few words
    Run(run::RunArgs),
    /// Forward local ports into a pod
    PortForward(port_forward::ForwardArgs),
    /// Show what happened lately
    Events(events::EventsArgs),
    /// List the kinds of objects
    ApiResources(api::ResourcesArgs),
    /// List the versions of the API
    #[command(after_help = "Example:\n  kabuki api-versions")]
    ApiVersions,
    /// Show the versions of this program and the server
    Version(api::VersionArgs),
    /// Show where the cluster is
    #[command(after_help = "Example:\n  kabuki cluster-info")]
    ClusterInfo,
    /// Ask who you are, and what you may do
    Auth(auth::AuthArgs),
    /// Print a kubeconfig for another user
    Kubeconfig(kubeconfig_for::KubeconfigArgs),
    /// Make, show and delete the tokens that machines join by
    Token(token::TokenArgs),
    /// Show the nodes as members of the cluster: roles, votes, lag, sessions, certificates
    Members(members::MembersArgs),
    /// Show and change the cluster's CA
    Ca(ca::CaArgs),
    /// Write the whole state of the cluster to a file
    Backup(backup::BackupArgs),
    /// Make a cluster of one server from a backup
    Restore(offline::RestoreArgs),
    /// Go on with one server after the majority was lost
    Recover(offline::RecoverArgs),
    /// Show the live actors of a node
    Actors(actors::ActorsArgs),
    /// Look names up in the cluster's name server
    Dns(dns::DnsArgs),
    /// Say where connections to services go
    Service(service::ServiceArgs),
    /// Load, pull, list and remove images of a node
    Image(image::ImageArgs),
    /// Tell what this machine offers, and what each lack costs
    Check(host::CheckArgs),
    /// Remove every trace of a node from this machine
    Reset(host::ResetArgs),
    /// Change an object in an editor
    Edit(edit::EditArgs),
    /// Copy files to and from containers
    Cp(copy::CopyArgs),
    /// Tell what the fields of a kind mean
    Explain(explain::ExplainArgs),
    /// Show and edit kubeconfig files
    Config(config::ConfigArgs),
    /// Write a completion script for a shell
    Completion(explain::CompletionArgs),
    /// Show what nodes and pods use
    Top(top::TopArgs),
    /// Connect to the main process of a container
    Attach(exec::AttachArgs),
}

/// The whole command line, without the verbs of the daemon.
pub fn command() -> Command {
    let base = Command::new("kabuki")
        .about("Runs containers on a cluster of machines")
        .version(env!("CARGO_PKG_VERSION"))
        .styles(Styles::plain())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help("`kabuki VERB --help` explains a verb with examples.");
    like_kubectl(Verb::augment_subcommands(Globals::augment_args(base)))
}

/// Lets every switch be given as `--switch=false` too, as `kubectl` has it.
fn like_kubectl(command: Command) -> Command {
    let command = command
        .args_override_self(true)
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .value_parser(ValueParser::new(BoolishValueParser::new()))
                .num_args(0..=1)
                .require_equals(true)
                .default_value("false")
                .default_missing_value("true")
                .hide_default_value(true)
                .hide_possible_values(true)
                .value_name("BOOL"),
            _ => arg,
        });
    command.mut_subcommands(like_kubectl)
}

/// Runs a parsed verb. `whole` is the command line that it was parsed by, for completion.
pub fn run(matches: &ArgMatches, whole: Command) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(dispatch(matches, whole));
            // A read of standard input cannot be interrupted: leave its thread behind.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.text();
            if !text.is_empty() {
                out::Out::Standard.note(text);
            }
            ExitCode::from(failure.code())
        }
    }
}

async fn dispatch(matches: &ArgMatches, whole: Command) -> Outcome {
    let refused = |error: clap::Error| failure::Failure::new(error.to_string());
    let globals = Globals::from_arg_matches(matches).map_err(refused)?;
    let verb = Verb::from_arg_matches(matches).map_err(refused)?;
    perform(&Session::new(globals), verb, whole).await
}

async fn perform(session: &Session, verb: Verb, whole: Command) -> Outcome {
    match verb {
        Verb::Apply(args) => apply::run(session, args).await,
        Verb::Diff(args) => diff::run(session, args).await,
        Verb::Create(args) => create::run(session, args).await,
        Verb::Expose(args) => expose::run(session, args).await,
        Verb::Replace(args) => create::replace(session, args).await,
        Verb::Get(args) => get::run(session, args).await,
        Verb::Describe(args) => describe::run(session, args).await,
        Verb::Delete(args) => delete::run(session, args).await,
        Verb::Label(args) => label::label(session, args).await,
        Verb::Annotate(args) => label::annotate(session, args).await,
        Verb::Patch(args) => patch::patch(session, args).await,
        Verb::Scale(args) => patch::scale(session, args).await,
        Verb::Set(args) => set::run(session, args).await,
        Verb::Cordon(args) => cordon::cordon(session, args).await,
        Verb::Uncordon(args) => cordon::uncordon(session, args).await,
        Verb::Drain(args) => drain::run(session, args).await,
        Verb::Taint(args) => taint::run(session, args).await,
        Verb::Rollout(args) => rollout::run(session, args).await,
        Verb::Wait(args) => wait::run(session, args).await,
        Verb::Logs(args) => logs::run(session, args).await,
        Verb::Exec(args) => exec::exec(session, args).await,
        Verb::Debug(args) => debug::run(session, args).await,
        Verb::Run(args) => run::run(session, args).await,
        Verb::PortForward(args) => port_forward::run(session, args).await,
        Verb::Events(args) => events::run(session, args).await,
        Verb::ApiResources(args) => api::resources(session, &args),
        Verb::ApiVersions => api::versions(session),
        Verb::Version(args) => api::version(session, args).await,
        Verb::ClusterInfo => api::cluster_info(session).await,
        Verb::Auth(args) => auth::run(session, args).await,
        Verb::Kubeconfig(args) => kubeconfig_for::run(session, args).await,
        Verb::Token(args) => token::run(session, args).await,
        Verb::Members(args) => members::run(session, args).await,
        Verb::Ca(args) => ca::run(session, args).await,
        Verb::Backup(args) => backup::run(session, args).await,
        Verb::Restore(args) => offline::restore(session, args).await,
        Verb::Recover(args) => offline::recover(session, args).await,
        Verb::Actors(args) => actors::run(session, args).await,
        Verb::Dns(args) => dns::run(session, args).await,
        Verb::Service(args) => service::run(session, args).await,
        Verb::Image(args) => image::run(session, args).await,
        Verb::Check(args) => host::check(session, args).await,
        Verb::Reset(args) => host::reset(session, args).await,
        Verb::Edit(args) => edit::run(session, args).await,
        Verb::Cp(args) => copy::run(session, args).await,
        Verb::Explain(args) => explain::explain(session, &args),
        Verb::Config(args) => config::run(session, args),
        Verb::Completion(args) => explain::completion(session, &args, whole),
        Verb::Top(args) => top::run(session, args).await,
        Verb::Attach(args) => exec::attach(session, args).await,
    }
}

#[cfg(test)]
mod tests;
