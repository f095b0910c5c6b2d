//! How many files and connections the daemon may have open. Shells and service managers often
//! begin with 1024, which some hundred silent clients could use up.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Enough for all sessions and handshakes at once. Not more: containers inherit it, and some
/// programs walk through all numbers that they could have.
const WANTED: u64 = 1 << 16;

/// Raises the limit as far as it is wanted and allowed.
pub fn allow_many() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = WANTED.min(hard).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    });
    if let Err(error) = raised {
        tracing::warn!(error = %error, "cannot raise the limit of open files");
    }
}
