//! Command, arguments and working directory over the image's (Kubernetes, "Define a Command and
//! Arguments for a Container").

use super::expand::expand;
use super::{ConfigError, Environment};
use k8s_openapi::api::core::v1::Container;

/// What an image says of how to run it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// `Entrypoint`
    pub entrypoint: Vec<String>,
    /// `Cmd`
    pub cmd: Vec<String>,
    /// `Env`: `NAME=value`.
    pub env: Vec<String>,
    /// `WorkingDir`; empty is the root.
    pub working_dir: String,
    /// `User`; empty is root.
    pub user: String,
}

/// The program and its arguments, with `$(NAME)` replaced.
///
/// # Errors
/// When neither the manifest nor the image names a program.
pub fn command(
    container: &Container,
    image: &ImageDefaults,
    env: &Environment,
) -> Result<Vec<String>, ConfigError> {
    let own = |list: &Option<Vec<String>>| -> Vec<String> {
        let list = list.iter().flatten();
        list.map(|text| expand(text, |name| env.declared(name)))
            .collect()
    };
    let (command, args) = (own(&container.command), own(&container.args));
    let mut all = match command.is_empty() {
        true => image.entrypoint.clone(),
        false => command.clone(),
    };
    if !args.is_empty() {
        all.extend(args);
    } else if command.is_empty() {
        all.extend(image.cmd.iter().cloned());
    }
    match all.is_empty() {
        true => Err(ConfigError::new("no command specified")),
        false => Ok(all),
    }
}

/// The directory that the program starts in.
pub fn working_dir(container: &Container, image: &ImageDefaults) -> String {
    let own = container.working_dir.clone().filter(|dir| !dir.is_empty());
    let dir = own.unwrap_or_else(|| image.working_dir.clone());
    match dir.as_str() {
        "" => "/".to_string(),
        absolute if absolute.starts_with('/') => dir,
        relative => format!("/{relative}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command_: &[&str], args: &[&str]) -> Result<Vec<String>, ConfigError> {
        let list = |l: &[&str]| Some(l.iter().map(|s| s.to_string()).collect());
        let container = Container {
            command: list(command_),
            args: list(args),
            ..Container::default()
        };
        let image = ImageDefaults {
            entrypoint: vec!["/entry".to_string()],
            cmd: vec!["default".to_string()],
            ..ImageDefaults::default()
        };
        command(&container, &image, &Environment::default())
    }

    #[test]
    fn the_manifest_goes_over_the_image_as_documented() {
        assert_eq!(run(&[], &[]).expect("runs"), ["/entry", "default"]);
        assert_eq!(run(&["/own"], &[]).expect("runs"), ["/own"]);
        assert_eq!(run(&[], &["arg"]).expect("runs"), ["/entry", "arg"]);
        assert_eq!(run(&["/own"], &["arg"]).expect("runs"), ["/own", "arg"]);
    }

    #[test]
    fn nothing_to_run_is_an_error() {
        let none = command(
            &Container::default(),
            &ImageDefaults::default(),
            &Environment::default(),
        );
        assert_eq!(
            none.expect_err("refused").to_string(),
            "no command specified"
        );
    }
}
