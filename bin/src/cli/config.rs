//! `config`: shows and edits kubeconfig files.

use super::align::Table;
use super::failure::{Outcome, fail};
use super::kubeconfig::{Kubeconfig, named};
use super::printer::indented;
use super::session::Session;
use anyhow::Context;
use kabuki_model::manifest::to_yaml;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki config view\n  \
    kabuki config use-context home\n  \
    kabuki config set-context --current --namespace=shop")]
pub struct ConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show the kubeconfig that is in force, without its secrets
    #[command(after_help = "Example:\n  kabuki config view --minify")]
    View {
        /// Also show certificates and keys
        #[arg(long)]
        raw: bool,
        /// Only what the current context uses
        #[arg(long)]
        minify: bool,
        /// json or yaml
        #[arg(short, long, default_value = "yaml", value_name = "FORMAT")]
        output: String,
    },
    /// Show the name of the current context
    #[command(after_help = "Example:\n  kabuki config current-context")]
    CurrentContext,
    /// List the contexts
    #[command(after_help = "Example:\n  kabuki config get-contexts")]
    GetContexts {
        /// Only this one
        name: Option<String>,
        /// Leave out the headings
        #[arg(long)]
        no_headers: bool,
        /// name
        #[arg(short, long, value_name = "name")]
        output: Option<String>,
    },
    /// Make a context the current one
    #[command(
        visible_alias = "use",
        after_help = "Example:\n  kabuki config use-context home"
    )]
    UseContext {
        /// Which
        name: String,
    },
    /// Make or change a context
    #[command(after_help = "Example:\n  kabuki config set-context --current --namespace=shop")]
    SetContext {
        /// Which
        #[arg(required_unless_present = "current")]
        name: Option<String>,
        /// The current one
        #[arg(long, conflicts_with = "name")]
        current: bool,
        /// Its cluster
        #[arg(long)]
        cluster: Option<String>,
        /// Its user
        #[arg(long)]
        user: Option<String>,
    },
}

/// Runs `config`.
pub fn run(session: &Session, args: ConfigArgs) -> Outcome {
    let config = session.kubeconfig()?;
    let given = session.globals.context.as_deref();
    match args.what {
        What::View {
            raw,
            minify,
            output,
        } => view(session, &config, raw, minify, &output),
        What::CurrentContext => match config.context_name(given) {
            name if name.is_empty() => fail!("current-context is not set"),
            name => session.out.line(name),
        },
        What::GetContexts {
            name,
            no_headers,
            output,
        } => {
            let names_only = match output.as_deref() {
                None => false,
                Some("name") => true,
                Some(other) => fail!("-o {other} is not available here: use name"),
            };
            contexts(session, &config, name.as_deref(), no_headers, names_only)
        }
        What::UseContext { name } => {
            if named(&config.merged()["contexts"], &name).is_none() {
                fail!("no context exists with the name: {name:?}");
            }
            write(
                &config,
                |_| true,
                |value| value["current-context"] = name.as_str().into(),
            )?;
            session.out.line(format!("Switched to context {name:?}."))
        }
        What::SetContext {
            name,
            current,
            cluster,
            user,
        } => {
            let name = match (name, current) {
                (Some(name), _) => name,
                (None, _) => config.context_name(given),
            };
            if name.is_empty() {
                fail!("no current context is set");
            }
            let namespace = session.globals.namespace.clone();
            let fields = [
                ("cluster", cluster),
                ("user", user),
                ("namespace", namespace),
            ];
            set_context(session, &config, &name, fields)
        }
    }
}

fn set_context(
    session: &Session,
    config: &Kubeconfig,
    name: &str,
    fields: [(&str, Option<String>); 3],
) -> Outcome {
    let known = named(&config.merged()["contexts"], name).is_some();
    let holds = |value: &Value| named(&value["contexts"], name).is_some();
    write(config, holds, |value| {
        if !value["contexts"].is_array() {
            value["contexts"] = json!([]);
        }
        let Some(list) = value["contexts"].as_array_mut() else {
            return;
        };
        if !list.iter().any(|c| c["name"] == name) {
            list.push(json!({"context": {}, "name": name}));
        }
        for entry in list.iter_mut().filter(|c| c["name"] == name) {
            for (field, value) in &fields {
                if let Some(value) = value {
                    entry["context"][*field] = value.as_str().into();
                }
            }
        }
    })?;
    let did = if known { "modified" } else { "created" };
    session.out.line(format!("Context {name:?} {did}."))
}

fn view(session: &Session, config: &Kubeconfig, raw: bool, minify: bool, output: &str) -> Outcome {
    let mut value = config.merged();
    if minify {
        let name = config.context_name(session.globals.context.as_deref());
        let Some(context) = named(&value["contexts"], &name).cloned() else {
            fail!("current-context must exist in order to minify");
        };
        for (list, field) in [("clusters", "cluster"), ("users", "user")] {
            let kept = named(
                &value[list],
                context["context"][field].as_str().unwrap_or_default(),
            );
            value[list] = kept.cloned().into_iter().collect();
        }
        value["current-context"] = name.into();
        value["contexts"] = json!([context]);
    }
    if !raw {
        for list in ["clusters", "users"] {
            for entry in value[list].as_array_mut().into_iter().flatten() {
                let kind = list.trim_end_matches('s');
                for (field, value) in entry[kind].as_object_mut().into_iter().flatten() {
                    if field.ends_with("-data") {
                        *value = "DATA+OMITTED".into();
                    } else if matches!(field.as_str(), "token" | "password") {
                        *value = "REDACTED".into();
                    }
                }
            }
        }
    }
    match output {
        "yaml" => session.out.text(&to_yaml(&value)),
        "json" => session.out.line(indented(&value)?),
        other => fail!("-o {other} is not available here: use yaml or json"),
    }
}

fn contexts(
    session: &Session,
    config: &Kubeconfig,
    only: Option<&str>,
    no_headers: bool,
    names_only: bool,
) -> Outcome {
    let merged = config.merged();
    let current = config.context_name(session.globals.context.as_deref());
    let mut rows = Vec::new();
    if !no_headers && !names_only {
        rows.push(
            ["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"]
                .map(str::to_string)
                .to_vec(),
        );
    }
    let mut found = false;
    for entry in merged["contexts"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let (name, context) = (text(&entry["name"]), &entry["context"]);
        if only.is_some_and(|only| only != name) {
            continue;
        }
        found = true;
        if names_only {
            rows.push(vec![name]);
            continue;
        }
        let mark = if name == current { "*" } else { "" };
        rows.push(vec![
            mark.to_string(),
            name,
            text(&context["cluster"]),
            text(&context["user"]),
            text(&context["namespace"]),
        ]);
    }
    match only {
        Some(only) if !found => fail!("context {only} not found"),
        _ => session.out.text(&Table::default().rows(&rows)),
    }
}

/// Changes the first file that `holds` what is changed, else the first that exists.
fn write(
    config: &Kubeconfig,
    holds: impl Fn(&Value) -> bool,
    change: impl FnOnce(&mut Value),
) -> Outcome {
    let existing = || {
        config
            .files
            .iter()
            .filter_map(|(p, v)| Some((p, v.as_ref()?)))
    };
    let Some((path, value)) = existing()
        .find(|(_, v)| holds(v))
        .or_else(|| existing().next())
    else {
        fail!(
            "there is no kubeconfig to change: start a node with `kabuki node`, or give --kubeconfig"
        );
    };
    let mut value = value.clone();
    change(&mut value);
    replace(path, &to_yaml(&value))
}

/// Replaces a file at once, so that nobody ever reads half of it; its mode stays.
fn replace(path: &Path, text: &str) -> Outcome {
    let failed = || format!("cannot write {}", path.display());
    let mode = std::fs::metadata(path).map_or(0o600, |m| m.permissions().mode());
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    let permissions = std::fs::Permissions::from_mode(mode & 0o777);
    std::fs::set_permissions(file.path(), permissions).with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::session::Globals;

    fn config(args: What, path: &Path, namespace: Option<&str>) -> Outcome {
        let globals = Globals {
            kubeconfig: Some(path.to_path_buf()),
            namespace: namespace.map(str::to_string),
            ..Globals::default()
        };
        run(&Session::new(globals), ConfigArgs { what: args })
    }

    #[test]
    fn contexts_are_changed_in_the_file_and_the_rest_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config");
        std::fs::write(
            &path,
            "current-context: a\ncontexts:\n- {name: a, context: {cluster: c}}\nextra: kept\n",
        )
        .expect("writes");
        let set = |name: Option<&str>| What::SetContext {
            name: name.map(str::to_string),
            current: name.is_none(),
            cluster: None,
            user: Some("u".into()),
        };
        config(set(None), &path, Some("shop")).expect("changes");
        config(set(Some("b")), &path, None).expect("creates");
        config(What::UseContext { name: "b".into() }, &path, None).expect("switches");
        let read = Kubeconfig::find(Some(&path)).expect("reads");
        assert_eq!(read.context_name(None), "b");
        assert_eq!(read.namespace(Some("a")).as_deref(), Some("shop"));
        assert_eq!(
            read.files[0].1.as_ref().map(|v| &v["extra"]),
            Some(&json!("kept"))
        );
        assert!(config(What::UseContext { name: "z".into() }, &path, None).is_err());
    }
}
