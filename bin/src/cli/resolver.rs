//! From arguments to objects: `TYPE[,TYPE] [NAME..]`, `TYPE/NAME..`, `all`, selectors, all
//! namespaces, and files. Every verb that works on objects goes through here.

mod files;
mod suggest;

pub use files::{FileArgs, Locate, Manifest, read_manifests};

use super::failure::{Failure, Outcome, fail};
use super::session::Session;
use kabuki_model::kind::{self, Kind, Scope};
use kabuki_model::object::{ObjectKey, Stored};
use kabuki_model::request::ListRequest;
use std::sync::Arc;

/// Which objects, beyond types and names.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SelectArgs {
    /// Only objects with these labels: `app=web,tier in (a,b),!old`
    #[arg(
        short = 'l',
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "LABELS"
    )]
    pub selector: String,
    /// Only objects with these fields: `status.phase=Running,spec.nodeName!=a`
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "FIELDS"
    )]
    pub field_selector: String,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Read long lists in parts of so many objects; 0 reads them whole
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "COUNT"
    )]
    pub chunk_size: u32,
}

/// Objects of one kind: those with these names, or all that are selected.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The kind.
    pub kind: &'static Kind,
    /// The names; empty: all that are selected.
    pub names: Vec<String>,
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        self.kind.resource == other.kind.resource && self.names == other.names
    }
}

/// An object and its kind.
#[derive(Debug, Clone)]
pub struct Found {
    /// The kind.
    pub kind: &'static Kind,
    /// The object.
    pub object: Arc<Stored>,
}

/// What was found, and what was not.
#[derive(Debug, Default)]
pub struct Findings {
    /// What was found, in the order in which it was asked for.
    pub found: Vec<Found>,
    /// What failed on the way; the rest was still looked for.
    pub failures: Vec<Failure>,
    /// Whether exactly one object was asked for by name.
    pub single: bool,
    /// The revision of the last list.
    pub revision: u64,
}

/// The kind that a person names, with a suggestion when there is none.
pub fn kind_named(name: &str) -> Outcome<&'static Kind> {
    match kind::by_name(name) {
        Some(kind) => Ok(kind),
        None => Err(Failure::Local(suggest::unknown_type(name))),
    }
}

/// Reads `TYPE[,TYPE] [NAME..]` or `TYPE/NAME..`.
pub fn parse(args: &[String]) -> Outcome<Vec<Wanted>> {
    let Some(first) = args.first() else {
        fail!(
            "You must specify the type of resource to get. `kabuki api-resources` lists the types"
        );
    };
    if first.contains('/') {
        return args.iter().map(|arg| slashed(arg)).collect();
    }
    if let Some(arg) = args.iter().find(|a| a.contains('/')) {
        fail!(
            "there is no need to specify a resource type as a separate argument when passing \
             arguments in resource/name form (e.g. `{arg}` instead of `{first} {arg}`)"
        );
    }
    let names = args[1..].to_vec();
    if let Some(name) = names.iter().find(|n| n.is_empty()) {
        fail!("{name:?} is no name");
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    for kind in kinds_named(first)? {
        if !wanted.iter().any(|w| w.kind.resource == kind.resource) {
            wanted.push(Wanted {
                kind,
                names: names.clone(),
            });
        }
    }
    Ok(wanted)
}

fn slashed(arg: &str) -> Outcome<Wanted> {
    let parts: Vec<&str> = arg.split('/').collect();
    let [kind, name] = parts.as_slice() else {
        fail!(
            "arguments in resource/name form must have a single resource and name: {arg:?} is \
             not one"
        );
    };
    if kind.is_empty() || name.is_empty() {
        fail!(
            "arguments in resource/name form may not have more than one slash and no empty part: {arg:?}"
        );
    }
    Ok(Wanted {
        kind: kind_named(kind)?,
        names: vec![(*name).to_string()],
    })
}

/// The kinds of a list of types and categories (`all`), in the order of the registry within a
/// category.
pub fn kinds_named(list: &str) -> Outcome<Vec<&'static Kind>> {
    let mut kinds = Vec::new();
    for name in list.split(',').filter(|n| !n.is_empty()) {
        let category: Vec<_> = kind::all()
            .iter()
            .filter(|k| k.names.categories.contains(&name))
            .collect();
        match category.is_empty() {
            true => kinds.push(kind_named(name)?),
            false => kinds.extend(category),
        }
    }
    Ok(kinds)
}

/// One object by `TYPE/NAME` or `TYPE NAME`; a lone name is of the kind `default`.
pub fn one(args: &[String], default: &str) -> Outcome<(&'static Kind, String)> {
    match args {
        [name] if !name.contains('/') => Ok((kind_named(default)?, name.clone())),
        args => match parse(args)?.as_slice() {
            [Wanted { kind, names }] if names.len() == 1 => Ok((*kind, names[0].clone())),
            _ => fail!("exactly one object must be named, as TYPE/NAME"),
        },
    }
}

impl SelectArgs {
    /// Whether a selector is given.
    pub fn selects(&self) -> bool {
        !self.selector.is_empty() || !self.field_selector.is_empty()
    }

    /// The list request of a kind.
    pub fn request(&self, session: &Session, kind: &Kind) -> Outcome<ListRequest> {
        let namespace = match kind.scope() {
            Scope::Namespaced if !self.all_namespaces => Some(session.namespace()?),
            _ => None,
        };
        let mut request = ListRequest::all(kind.resource.clone(), namespace.as_deref());
        request.labels.clone_from(&self.selector);
        request.fields.clone_from(&self.field_selector);
        request.limit = self.chunk_size;
        Ok(request)
    }

    fn check(&self, wanted: &[Wanted]) -> Outcome {
        let named = wanted.iter().any(|w| !w.names.is_empty());
        if named && self.selects() {
            fail!("selectors and the all flag cannot be used when passing resource/name arguments");
        }
        if named && self.all_namespaces {
            let namespaced = wanted.iter().any(|w| w.kind.scope() == Scope::Namespaced);
            if namespaced {
                fail!("a resource cannot be retrieved by name across all namespaces");
            }
        }
        Ok(())
    }
}

/// Reads everything that is wanted. What fails is kept, so that the rest is still shown.
pub async fn find(session: &Session, wanted: &[Wanted], select: &SelectArgs) -> Outcome<Findings> {
    select.check(wanted)?;
    let mut findings = Findings {
        single: matches!(wanted, [Wanted { names, .. }] if names.len() == 1),
        ..Findings::default()
    };
    for Wanted { kind, names } in wanted {
        if names.is_empty() {
            match list(session, select.request(session, kind)?).await {
                Ok((revision, objects)) => {
                    findings.revision = revision;
                    let found = objects.into_iter().map(|object| Found { kind, object });
                    findings.found.extend(found);
                }
                Err(failure) => findings.failures.push(failure),
            }
            continue;
        }
        let namespace = match kind.scope() {
            Scope::Namespaced => session.namespace()?,
            Scope::Cluster => String::new(),
        };
        for name in names {
            match session.get(&session.key(kind, &namespace, name)).await {
                Ok(object) => findings.found.push(Found { kind, object }),
                Err(failure @ Failure::Server(_)) => findings.failures.push(failure),
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(findings)
}

/// A whole list, and its revision.
pub async fn list(session: &Session, mut request: ListRequest) -> Outcome<(u64, Vec<Arc<Stored>>)> {
    let mut objects = Vec::new();
    loop {
        let mut part = session.list(request.clone()).await?;
        objects.append(&mut part.items);
        if part.continue_token.is_empty() {
            return Ok((part.revision, objects));
        }
        request.continue_token = part.continue_token;
    }
}

/// Reads what a verb is to work on: of files when there are any, else of the arguments.
pub async fn find_either(
    session: &Session,
    args: &[String],
    select: &SelectArgs,
    files: &FileArgs,
) -> Outcome<Findings> {
    if files.is_empty() {
        return find(session, &parse(args)?, select).await;
    }
    files.refuse_arguments(args)?;
    let mut findings = Findings::default();
    let manifests = read_manifests(files, &mut findings.failures)?;
    findings.single = manifests.len() == 1 && findings.failures.is_empty();
    for manifest in manifests {
        match manifest.locate(session) {
            Err(failure) => findings.failures.push(failure),
            Ok((kind, key)) => match session.get(&key).await {
                Ok(object) => findings.found.push(Found { kind, object }),
                Err(failure @ Failure::Server(_)) => findings.failures.push(failure),
                Err(failure) => return Err(failure),
            },
        }
    }
    Ok(findings)
}

impl Found {
    /// `pod/web`, `deployment.apps/web`.
    pub fn label(&self) -> String {
        label(self.kind, &self.object.key.name)
    }

    /// Its key.
    pub fn key(&self) -> &ObjectKey {
        &self.object.key
    }
}

/// `pod/web`, `deployment.apps/web`.
pub fn label(kind: &Kind, name: &str) -> String {
    match kind.names.group {
        "" => format!("{}/{name}", kind.names.singular),
        group => format!("{}.{group}/{name}", kind.names.singular),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Outcome<Vec<(&'static str, Vec<String>)>> {
        let args: Vec<String> = args.iter().map(|a| (*a).to_string()).collect();
        Ok(parse(&args)?
            .into_iter()
            .map(|w| (w.kind.names.plural, w.names))
            .collect())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_string()).collect()
    }

    #[test]
    fn types_and_names_are_read_in_every_form() {
        assert_eq!(parsed(&["po"]), Ok(vec![("pods", vec![])]));
        assert_eq!(
            parsed(&["pod", "a", "b"]),
            Ok(vec![("pods", names(&["a", "b"]))])
        );
        assert_eq!(
            parsed(&["deploy,rs", "a"]),
            Ok(vec![
                ("deployments", names(&["a"])),
                ("replicasets", names(&["a"]))
            ])
        );
        assert_eq!(
            parsed(&["pod/a", "deployments.apps/b"]),
            Ok(vec![
                ("pods", names(&["a"])),
                ("deployments", names(&["b"]))
            ])
        );
        let all: Vec<_> = parsed(&["all"])
            .expect("a category")
            .into_iter()
            .map(|w| w.0)
            .collect();
        assert_eq!(all, ["pods", "services", "deployments", "replicasets"]);
        assert_eq!(parsed(&["pods,all"]).expect("no repetition").len(), 4);
    }

    #[test]
    fn mixed_forms_are_refused() {
        for wrong in [
            &["pods", "pod/a"][..],
            &["pod/a", "b"],
            &["pod/a/b"],
            &["pod/"],
            &["/a"],
            &[],
            &["pods", ""],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_lone_name_is_of_the_default_kind() {
        let one = |args: &[&str]| {
            let args = names(args);
            super::one(&args, "pods").map(|(kind, name)| (kind.names.singular, name))
        };
        assert_eq!(one(&["web"]), Ok(("pod", "web".to_string())));
        assert_eq!(one(&["deploy/web"]), Ok(("deployment", "web".to_string())));
        assert_eq!(
            one(&["deploy", "web"]),
            Ok(("deployment", "web".to_string()))
        );
        assert!(one(&["deploy/a", "deploy/b"]).is_err());
    }

    #[test]
    fn labels_carry_the_group() {
        assert_eq!(label(kind_named("pod").expect("pods"), "a"), "pod/a");
        assert_eq!(
            label(kind_named("rs").expect("replica sets"), "a"),
            "replicaset.apps/a"
        );
    }
}
