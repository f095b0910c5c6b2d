//! Waiting on what can be observed, and the program under test.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The binary that benches chose.
static RELEASED: OnceLock<PathBuf> = OnceLock::new();

/// The binary under test: `KABUKI_BIN`, else the debug build beside this test.
pub fn kabuki() -> PathBuf {
    if let Some(path) = std::env::var_os("KABUKI_BIN") {
        return path.into();
    }
    if let Some(path) = RELEASED.get() {
        return path.clone();
    }
    // target/debug/deps/test-1234 -> target/debug/kabuki
    let own = std::env::current_exe().expect("a test knows its own path");
    let built = own
        .ancestors()
        .nth(2)
        .expect("target folder")
        .join("kabuki");
    assert!(
        built.exists(),
        "{} is missing: run tests/run, or build it with `cargo build -p kabuki`",
        built.display()
    );
    built
}

/// Makes [`kabuki`] the release binary, because figures of a debug build mean nothing:
/// `KABUKI_BIN`, else what `cargo dist` built into the same target folder. A bench that cannot
/// measure says so and ends: the others go on.
pub fn use_release() -> PathBuf {
    const BUILT: &str = "x86_64-unknown-linux-gnu/release/kabuki";
    if !nix::unistd::geteuid().is_root() {
        not_measured("this needs root");
    }
    if std::env::var_os("KABUKI_BIN").is_none() {
        let own = std::env::current_exe().expect("a bench knows its own path");
        let built = own
            .ancestors()
            .map(|folder| folder.join(BUILT))
            .find(|path| path.exists());
        let Some(built) = built else {
            not_measured(
                "the release binary is missing: run `cargo dist` first, or set KABUKI_BIN",
            );
        };
        let _ = RELEASED.set(built);
    }
    kabuki()
}

fn not_measured(why: &str) -> ! {
    println!("nothing was measured: {why}");
    std::process::exit(0)
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

/// The process of exactly this command, in whichever container it runs.
pub fn process(command: &[&str]) -> Option<u32> {
    let wanted: String = command.iter().map(|word| format!("{word}\0")).collect();
    std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            (line == wanted.as_bytes()).then_some(pid)
        })
}
