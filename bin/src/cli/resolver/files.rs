//! Manifests from files, folders and standard input.

use crate::cli::failure::{Failure, Outcome, fail};
use crate::cli::session::Session;
use anyhow::Context;
use kabuki_model::kind::{self, Kind};
use kabuki_model::manifest::{MAX_STREAM_BYTES, ManifestObject, parse};
use kabuki_model::object::ObjectKey;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Which manifests.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FileArgs {
    /// A manifest: a file, a folder, or `-` for standard input; several with commas or repeated
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub files: Vec<PathBuf>,
    /// Also what is in the folders of folders
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Not supported: render with another tool and pipe its output to `-f -`
    #[arg(short = 'k', long, value_name = "DIR", hide = true)]
    pub kustomize: Option<PathBuf>,
}

/// A manifest's object.
pub type Manifest = ManifestObject;

/// Names that folders are searched for.
const EXTENSIONS: &[&str] = &["json", "yaml", "yml"];

impl FileArgs {
    /// Whether no file is named.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.kustomize.is_none()
    }

    /// Types and names beside files mean nothing.
    pub fn refuse_arguments(&self, args: &[String]) -> Outcome {
        match args.is_empty() {
            true => Ok(()),
            false => fail!(
                "when paths, URLs, or stdin is provided as resource input, you may not specify resource arguments as well"
            ),
        }
    }
}

/// Reads every manifest that is named. Those that cannot be understood become failures, and the
/// others are read nevertheless.
pub fn read_manifests(args: &FileArgs, failures: &mut Vec<Failure>) -> Outcome<Vec<Manifest>> {
    if args.kustomize.is_some() {
        fail!("-k is not supported: render with another tool and pipe its output to `-f -`");
    }
    if args.files.is_empty() {
        fail!("must specify one of -f and -k: give a manifest with `-f FILE`");
    }
    let mut manifests = Vec::new();
    for path in &args.files {
        for (source, bytes) in read(path, args.recursive)? {
            for manifest in parse(&source, &bytes) {
                match manifest {
                    Ok(manifest) => manifests.push(manifest),
                    Err(error) => failures.push(error.into()),
                }
            }
        }
    }
    match manifests.is_empty() && failures.is_empty() {
        true => Err(Failure::new("the manifests hold no objects")),
        false => Ok(manifests),
    }
}

fn read(path: &Path, recursive: bool) -> Outcome<Vec<(String, Vec<u8>)>> {
    let shown = path.display().to_string();
    if shown == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(MAX_STREAM_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        return Ok(vec![("STDIN".to_string(), bytes)]);
    }
    if shown.contains("://") {
        fail!("{shown}: addresses are not read; fetch it with another tool and give `-f -`");
    }
    if path.is_dir() {
        let mut files = Vec::new();
        collect(path, recursive, &mut files)?;
        if files.is_empty() {
            fail!(
                "error reading {shown}: recognized file extensions are [.json .yaml .yml]{}",
                if recursive {
                    ""
                } else {
                    " (folders of folders need -R)"
                }
            );
        }
        return files.iter().map(|file| read_file(file)).collect();
    }
    Ok(vec![read_file(path)?])
}

fn read_file(path: &Path) -> Outcome<(String, Vec<u8>)> {
    let shown = path.display().to_string();
    if !path.exists() {
        fail!("the path {shown:?} does not exist");
    }
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_STREAM_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {shown}"))?;
    Ok((shown, bytes))
}

fn collect(folder: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> Outcome {
    let entries = std::fs::read_dir(folder);
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    for path in paths {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            // A link to a folder may lead back up.
            if recursive && !path.is_symlink() {
                collect(&path, recursive, files)?;
            }
        } else if EXTENSIONS.contains(&extension) {
            files.push(path);
        }
    }
    Ok(())
}

/// The kind of a manifest's object.
fn kind_of_manifest(manifest: &Manifest) -> Outcome<&'static Kind> {
    let found = kind::all()
        .iter()
        .find(|k| k.names.kind == manifest.kind && k.api_version() == manifest.api_version);
    let missing = || {
        Failure::new(format!(
            "resource mapping not found for name: {:?} namespace: {:?} from {:?}: no matches for \
             kind {:?} in version {:?}\n`kabuki api-resources` lists the kinds that there are",
            manifest.name, manifest.namespace, manifest.source, manifest.kind, manifest.api_version
        ))
    };
    found.ok_or_else(missing)
}

/// Where a manifest's object lives: its own namespace, else the command's.
pub trait Locate {
    /// Its kind and key.
    fn locate(&self, session: &Session) -> Outcome<(&'static Kind, ObjectKey)>;
}

impl Locate for Manifest {
    fn locate(&self, session: &Session) -> Outcome<(&'static Kind, ObjectKey)> {
        let kind = kind_of_manifest(self)?;
        if !kind.names.namespaced {
            return Ok((kind, session.key(kind, "", &self.name)));
        }
        let asked = session.globals.namespace.as_deref();
        let namespace = match (asked, self.namespace.as_str()) {
            (Some(asked), own) if !own.is_empty() && own != asked => fail!(
                "the namespace from the provided object {own:?} does not match the namespace \
                 {asked:?}. You must pass '--namespace={own}' to perform this operation."
            ),
            (_, "") => session.namespace()?,
            (_, own) => own.to_string(),
        };
        Ok((kind, session.key(kind, &namespace, &self.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\n";

    fn args(path: &Path, recursive: bool) -> FileArgs {
        FileArgs {
            files: vec![path.to_path_buf()],
            recursive,
            kustomize: None,
        }
    }

    #[test]
    fn folders_are_read_in_order_and_deeper_on_request() {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |path: &str, name: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("makes");
            std::fs::write(path, POD.replace("NAME", name)).expect("writes");
        };
        put("b.yaml", "b");
        put("a.yml", "a");
        put("notes.txt", "x");
        put("deep/c.json", "c");
        let names = |recursive| -> Vec<String> {
            let read = read_manifests(&args(dir.path(), recursive), &mut Vec::new());
            let read = read.expect("reads");
            read.into_iter().map(|m| m.name).collect()
        };
        assert_eq!(names(false), ["a", "b"]);
        assert_eq!(names(true), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_well_is_read_beside_what_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let good = |name| POD.replace("NAME", name);
        let text = format!("{}---\nkind: Pod\n---\na: [\n---\n{}", good("a"), good("b"));
        std::fs::write(dir.path().join("all.yaml"), text).expect("writes");
        let mut failures = Vec::new();
        let read = read_manifests(&args(dir.path(), false), &mut failures).expect("reads");
        let names: Vec<&str> = read.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(failures.len(), 2);
        assert!(
            failures[0].text().contains("apiVersion not set"),
            "{failures:?}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let text = |path: &str| {
            let failed = read_manifests(&args(Path::new(path), false), &mut Vec::new());
            failed.expect_err("refused").text()
        };
        assert_eq!(
            text("/nowhere.yaml"),
            "error: the path \"/nowhere.yaml\" does not exist"
        );
        assert!(text("https://a.example/x.yaml").contains("addresses are not read"));
    }

    #[test]
    fn an_unknown_kind_is_refused_with_its_version() {
        let mut parsed = parse("x", b"apiVersion: v2\nkind: Pod\nmetadata: {name: a}\n");
        let manifest = parsed.next().expect("one").expect("parses");
        let text = kind_of_manifest(&manifest).expect_err("refused").text();
        assert!(
            text.contains("no matches for kind \"Pod\" in version \"v2\""),
            "{text}"
        );
    }
}
