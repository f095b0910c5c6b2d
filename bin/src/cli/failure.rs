//! How a command fails: what is said on standard error, and the exit code. Every verb returns an
//! [`Outcome`]; only `main` prints it.

use kabuki_model::StatusError;
use kabuki_model::kind;
use kabuki_model::object::Resource;
use kabuki_model::status::Reason;

/// What every verb returns.
pub type Outcome<T = ()> = Result<T, Failure>;

/// The exit code of a program that a closed pipe ended: 128 + SIGPIPE.
const CLOSED_PIPE: u8 = 141;

/// Why a command failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// Something on this side, or of the arguments.
    Local(String),
    /// The server refused.
    Server(StatusError),
    /// Several things failed; each is said.
    Many(Vec<Failure>),
    /// Nothing more is to be said; only the code counts.
    Exit(u8),
}

impl Failure {
    /// A failure on this side.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Local(message.into())
    }

    /// Success when nothing failed; the failure itself when it is the only one.
    pub fn gather(mut failures: Vec<Failure>) -> Outcome {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Self::Many(failures)),
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Exit(code) => *code,
            _ => 1,
        }
    }

    /// Whether the server says that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Server(error) if error.reason == Reason::NotFound)
    }

    /// The same failure, said to have happened while doing something with a source:
    /// `error when creating "web.yaml": ...`.
    pub fn during(self, doing: &str, source: &str) -> Self {
        match self {
            Self::Server(mut error) => {
                error.message = format!("error when {doing} {source:?}: {}", error.message);
                Self::Server(error)
            }
            Self::Local(message) => {
                Self::Local(format!("error when {doing} {source:?}: {message}"))
            }
            other => other,
        }
    }

    /// What is printed, without a line break at the end; empty when nothing is.
    pub fn text(&self) -> String {
        match self {
            Self::Local(message) => format!("error: {message}"),
            Self::Server(error) => server_text(error),
            Self::Many(failures) => {
                let texts: Vec<String> = failures.iter().map(Self::text).collect();
                texts.join("\n")
            }
            Self::Exit(_) => String::new(),
        }
    }
}

fn server_text(error: &StatusError) -> String {
    match error.reason {
        Reason::Invalid if !error.causes.is_empty() => invalid_text(error),
        Reason::ServiceUnavailable => format!(
            "Error from server (ServiceUnavailable): {}\nIs the node still running? See its log, \
             or try again in a moment.",
            error.message
        ),
        reason => format!("Error from server ({reason:?}): {}", error.message),
    }
}

fn invalid_text(error: &StatusError) -> String {
    let kind = kind::of(&Resource::named(&error.resource))
        .map_or(error.resource.as_str(), |k| k.names.kind);
    let head = format!("The {kind} {:?} is invalid", error.name);
    let causes: Vec<String> = error
        .causes
        .iter()
        .map(|c| format!("{}: {}", c.field, c.message))
        .collect();
    match causes.as_slice() {
        [one] => format!("{head}: {one}"),
        many => format!("{head}:\n* {}", many.join("\n* ")),
    }
}

impl From<StatusError> for Failure {
    fn from(error: StatusError) -> Self {
        Self::Server(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Local(chain(&error))
    }
}

/// An error with its causes. Many errors say their cause themselves: it is not said again.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Whoever read our output has had enough: that is no error.
            std::io::ErrorKind::BrokenPipe => Self::Exit(CLOSED_PIPE),
            _ => Self::Local(error.to_string()),
        }
    }
}

impl From<kabuki_model::object::DecodeError> for Failure {
    fn from(error: kabuki_model::object::DecodeError) -> Self {
        Self::Local(format!(
            "{error}: use the same version of kabuki as the server"
        ))
    }
}

impl From<kabuki_model::manifest::ManifestError> for Failure {
    fn from(error: kabuki_model::manifest::ManifestError) -> Self {
        Self::Local(error.to_string())
    }
}

impl From<kabuki_model::jsonpath::JsonPathError> for Failure {
    fn from(error: kabuki_model::jsonpath::JsonPathError) -> Self {
        Self::Local(error.to_string())
    }
}

/// Ends the function with a failure on this side.
macro_rules! fail {
    ($($text:tt)*) => {
        return Err($crate::cli::failure::Failure::new(format!($($text)*)))
    };
}
pub(crate) use fail;

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_model::ObjectKey;
    use kabuki_model::status::Cause;

    #[test]
    fn refusals_are_said_as_kubectl_says_them() {
        let key = ObjectKey::new(Resource::PODS, "default", "web");
        let failure = Failure::from(StatusError::not_found(&key));
        assert_eq!(
            failure.text(),
            "Error from server (NotFound): pods \"web\" not found"
        );
        assert_eq!(failure.code(), 1);
        let causes = vec![Cause::required("spec.a", ""), Cause::required("spec.b", "")];
        let invalid = StatusError::invalid("Pod", &Resource::PODS, "web", causes);
        assert_eq!(
            Failure::from(invalid).text(),
            "The Pod \"web\" is invalid:\n* spec.a: Required value\n* spec.b: Required value"
        );
    }

    #[test]
    fn a_cause_is_said_once() {
        let refused = || std::io::Error::other("no room");
        let twice = anyhow::Error::from(refused()).context("cannot write a: no room");
        assert_eq!(chain(&twice), "cannot write a: no room");
        let once = anyhow::Error::from(refused()).context("cannot write a");
        assert_eq!(chain(&once), "cannot write a: no room");
    }

    #[test]
    fn a_closed_pipe_ends_the_program_in_silence() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((failure.text().as_str(), failure.code()), ("", 141));
    }
}
