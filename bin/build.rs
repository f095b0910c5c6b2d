//! Builds the demonstration's web server, which the binary embeds: a static program of its own,
//! so that the quick start needs no registry.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=demo/web.rs");
    let env = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let out = PathBuf::from(env("OUT_DIR")).join("demo-web");
    let status = Command::new(env("RUSTC"))
        .args([
            "--edition=2024",
            "--crate-name=demo_web",
            "--crate-type=bin",
        ])
        .arg(format!("--target={}", env("TARGET")))
        .args([
            "-Copt-level=s",
            "-Cpanic=abort",
            "-Cstrip=symbols",
            "-Clto=fat",
        ])
        .arg("-Ctarget-feature=+crt-static")
        .arg("-o")
        .arg(&out)
        .arg("demo/web.rs")
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("the demonstration's web server does not build: {status}"),
        Err(error) => panic!("cannot run the compiler: {error}"),
    }
}
