//! A host: a network namespace.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A network namespace with its loopback up; removed when dropped.
pub struct Host {
    name: String,
}

/// The way into a host, which does not borrow it.
pub struct Entrance(File);

/// Which packets of a link are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Those that come from the other.
    From,
    /// Those that go to the other.
    To,
    /// All.
    Both,
}

impl Host {
    /// Makes a host.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kbt{}-{number}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        run(Command::new("ip").args(["-n", &name, "link", "set", "lo", "up"]));
        Self { name }
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs on this host. Only the network differs: mounts and cgroups are the
    /// machine's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg("--");
        command.arg(program);
        command
    }

    /// The way in, for clients in this process.
    pub fn entrance(&self) -> Entrance {
        let namespace = File::open(format!("/run/netns/{}", self.name));
        Entrance(namespace.expect("the host is there"))
    }

    /// Loses the packets between this host and `address`, without telling anyone, until
    /// [`Host::mend`].
    pub fn cut(&self, way: Way, address: &str) {
        let mut rules = String::from(
            "add table ip cut\n\
             add chain ip cut in { type filter hook input priority -300; }\n\
             add chain ip cut out { type filter hook output priority -300; }\n",
        );
        if way != Way::To {
            rules += &format!("add rule ip cut in ip saddr {address} drop\n");
        }
        if way != Way::From {
            rules += &format!("add rule ip cut out ip daddr {address} drop\n");
        }
        self.run("nft", &[&rules]);
    }

    /// Ends every [`Host::cut`].
    pub fn mend(&self) {
        self.run("nft", &["add table ip cut; delete table ip cut"]);
    }

    /// What a command on this host prints; panics when it fails.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        run(self.command(program).args(args))
    }
}

impl Entrance {
    /// Runs something on a thread of its own that is on the host, as are the threads that it
    /// starts: whatever they connect to, they connect to from there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let entered = scope.spawn(move || {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("root enters the host");
                work()
            });
            match entered.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.output().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{shown}: {}: {errors}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
