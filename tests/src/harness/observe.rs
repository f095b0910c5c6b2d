//! Waiting on what can be observed, and the program under test.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The binary under test: `KABUKI_BIN`, else the debug build beside this test.
pub fn kabuki() -> PathBuf {
    if let Some(path) = std::env::var_os("KABUKI_BIN") {
        return path.into();
    }
    // target/debug/deps/test-1234 -> target/debug/kabuki
    let own = std::env::current_exe().expect("a test knows its own path");
    let built = own.ancestors().nth(2).expect("target folder").join("kabuki");
    assert!(
        built.exists(),
        "{} is missing: run tests/run, or build it with `cargo build -p kabuki`",
        built.display()
    );
    built
}

/// Looks until `observe` gives something; panics with `what` when it has not within `limit`.
pub fn until<T>(what: &str, limit: Duration, mut observe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(seen) = observe() {
            return seen;
        }
        assert!(Instant::now() < end, "not seen within {limit:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(15));
    }
}
