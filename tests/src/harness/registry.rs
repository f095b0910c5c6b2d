//! A real registry (Debian's `docker-registry`) on a host, over plain HTTP on its loopback, with
//! a user and password when asked for.

use super::{Host, until};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running registry; ended and removed when dropped.
pub struct Registry {
    process: Child,
    port: u16,
    login: Option<(String, String)>,
    data: TempDir,
}

impl Registry {
    /// Starts a registry on `host`; with a login it lets nobody else in.
    pub fn start(host: &Host, port: u16, login: Option<(&str, &str)>) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let auth = login.map(|(user, password)| {
            let path = data.path().join("htpasswd");
            let made = Command::new("htpasswd")
                .args(["-Bbn", user, password])
                .output()
                .expect("htpasswd runs");
            std::fs::write(&path, made.stdout).expect("writes");
            format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
                path.display()
            )
        });
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:{port}\n{}",
            data.path().join("blobs").display(),
            auth.unwrap_or_default()
        );
        let path = data.path().join("config.yml");
        std::fs::write(&path, config).expect("writes");
        let process = host
            .command("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry starts");
        let url = format!("http://127.0.0.1:{port}/v2/");
        until("the registry answers", Duration::from_secs(20), || {
            let asked = host
                .command("curl")
                .args(["-s", "-o", "/dev/null", &url])
                .status();
            asked.ok().filter(|s| s.success()).map(|_| ())
        });
        Self {
            process,
            port,
            login: login.map(|(u, p)| (u.to_string(), p.to_string())),
            data,
        }
    }

    /// Where it keeps what it was given.
    pub fn storage(&self) -> &Path {
        self.data.path()
    }

    /// The full name of an image in this registry.
    pub fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Pushes an OCI archive under a name, and gives the full name.
    pub fn push(&self, host: &Host, archive: &Path, name: &str) -> String {
        let full = self.image(name);
        let mut command = host.command("skopeo");
        command.args([
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
        ]);
        if let Some((user, password)) = &self.login {
            command.arg(format!("--dest-creds={user}:{password}"));
        }
        let output = command
            .arg(format!("oci-archive:{}", archive.display()))
            .arg(format!("docker://{full}"))
            .output()
            .expect("skopeo runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "skopeo: {errors}");
        full
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
