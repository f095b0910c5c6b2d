//! Builds the demonstration's web server, which the binary embeds, compressed: a static program of
//! its own, so that the quick start needs no registry. And has the linker keep one copy of functions
//! that are alike, in the binary that is given to people: code for many types is.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=demo/web.rs");
    let env = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if env("PROFILE") == "release" && features.split(',').any(|f| f == "crt-static") {
        // The toolchain's own linker, which is the default for this target, knows it.
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
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
            "-Ccodegen-units=1",
        ])
        .args(["-Ctarget-feature=+crt-static", "-Crelocation-model=static"])
        .arg("-o")
        .arg(&out)
        .arg("demo/web.rs")
        .status();
    match status {
        Ok(status) if status.success() => {
            if let Err(error) = compress(&out) {
                panic!("cannot compress {}: {error}", out.display());
            }
        }
        Ok(status) => panic!("the demonstration's web server does not build: {status}"),
        Err(error) => panic!("cannot run the compiler: {error}"),
    }
}

fn compress(path: &Path) -> std::io::Result<()> {
    const SMALLEST: i32 = 22;
    let compressed = zstd::encode_all(&*std::fs::read(path)?, SMALLEST)?;
    std::fs::write(path.with_extension("zst"), compressed)
}
