//! A whole node against an API in memory, with real containers, in network and mount namespaces
//! of its own: the program starts itself anew inside them. It needs root.

mod api;
mod cases;
mod node;

use std::process::{Command, ExitCode};

/// Set in the process that is inside the namespaces.
const INSIDE: &str = "KABUKI_TEST_INSIDE";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if std::env::args().nth(1).as_deref() == Some("shim") {
        arguments.next();
        return kabuki_runtime::shim_main(arguments);
    }
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    if std::env::args().any(|a| a == "--list") {
        cases::ALL
            .iter()
            .for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(INSIDE).is_none() {
        return enter(&named);
    }
    if let Ok(level) = std::env::var("KABUKI_LOG") {
        let level = level.parse::<tracing::Level>().expect("a level");
        tracing_subscriber::fmt().with_max_level(level).init();
    }
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, case) in cases::ALL {
        if !named.is_empty() && !named.iter().any(|n| name.contains(n.as_str())) {
            continue;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let begun = std::time::Instant::now();
        let outcome = runtime.block_on(async { tokio::spawn(case()).await });
        if outcome.is_err() {
            runtime.block_on(node::TestNode::sweep());
        }
        runtime.shutdown_timeout(std::time::Duration::from_secs(2));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {word} ({} ms)",
            begun.elapsed().as_millis()
        );
        match outcome {
            Ok(()) => passed += 1,
            Err(_) => failed.push(name),
        }
    }
    for name in &failed {
        println!("failed: {name}");
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "test result: {word}. {passed} passed; {} failed",
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the same program inside new namespaces.
fn enter(arguments: &[String]) -> ExitCode {
    let program = std::env::current_exe().expect("its own path");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(program)
        .args(arguments)
        .env(INSIDE, "1")
        .status()
        .expect("unshare runs");
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
