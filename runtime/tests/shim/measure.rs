//! Figures, printed on request: `cargo test --test shim measure -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use kabuki_runtime::{PodSpec, Seccomp};

use super::pod::TestPod;

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!("{what:<34} p50 {:7.2} ms  p99 {:7.2} ms", at(50), at(99));
}

fn rollup(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let wanted = ["Rss:", "Pss:", "Private_Clean:", "Private_Dirty:"];
    let lines = text
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}

#[tokio::test]
#[ignore = "prints figures and asserts nothing about them"]
async fn measure() {
    const RUNS: usize = 100;
    for (name, seccomp) in [
        ("no seccomp", Seccomp::Unconfined),
        ("seccomp", Seccomp::RuntimeDefault),
    ] {
        let mut pod = TestPod::start().await;
        let (mut create, mut start, mut cycle) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..RUNS {
            let mut spec = pod.container("c", "");
            spec.args = vec!["/bin/true".into()];
            spec.seccomp = seccomp.clone();
            spec.id = format!("c{number}");
            let began = Instant::now();
            pod.shim.create(spec).await.unwrap();
            create.push(began.elapsed());
            let starting = Instant::now();
            pod.shim.start(&format!("c{number}")).await.unwrap();
            start.push(starting.elapsed());
            pod.exit_of(&format!("c{number}")).await;
            pod.shim.delete(&format!("c{number}")).await.unwrap();
            cycle.push(began.elapsed());
        }
        report(&format!("create ({name})"), create);
        report(&format!("start ({name})"), start);
        report(&format!("create to deleted ({name})"), cycle);
        pod.end().await;
    }
    let mut pod = TestPod::start().await;
    let mut spec = pod.container("c", "sleep 1000");
    spec.seccomp = Seccomp::RuntimeDefault;
    pod.run(spec).await;
    let mut execs = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        pod.exec("c", "exit 0").await;
        execs.push(began.elapsed());
    }
    report("exec to exit code (seccomp)", execs);
    println!("shim with one container: {}", rollup(pod.shim.pid()));
    let (mut spawn, mut others) = (Vec::new(), Vec::new());
    for number in 0..20 {
        let began = Instant::now();
        others.push(pod.launcher.spawn(&format!("s{number}")).await.unwrap());
        spawn.push(began.elapsed());
    }
    report("spawn a spare", spawn);
    println!("spare among 21 shims: {}", rollup(others[10].0.pid()));
    for (number, (shim, _)) in others.iter().enumerate() {
        let uid = format!("{}-{number}", pod.spec.uid);
        shim.setup(PodSpec {
            uid,
            ..pod.spec.clone()
        })
        .await
        .unwrap();
        let mut spec = pod.container("c", "sleep 1000");
        spec.seccomp = Seccomp::RuntimeDefault;
        shim.create(spec).await.unwrap();
        shim.start("c").await.unwrap();
    }
    println!(
        "shim with a container among 21: {}",
        rollup(others[10].0.pid())
    );
    for (shim, _) in &others {
        shim.shutdown().await.unwrap();
    }
    pod.end().await;
}
