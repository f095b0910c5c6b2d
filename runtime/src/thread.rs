//! How threads share the processors.

/// Below the usual zero, above what keeps the machine itself alive.
const FIRST: libc::c_int = -10;

/// Has the calling thread go before the process's others whenever it has something to do: for
/// short work that somebody waits for. Without the right to do so it stays as it is.
pub fn prefer_this_thread() {
    // SAFETY: plain numbers; on Linux a "process" of zero is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, FIRST) } != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "a thread cannot go before others");
    }
}
