//! What pods have of the node: resizes, pods from files, processors of their own.

use crate::api::FakeApi;
use crate::node::{TestNode, ready};
use kabuki_agent::{Layout, Reserved};
use kabuki_model::Resource;
use kabuki_runtime::Cgroups;
use serde_json::{Value, json};

const SLEEP: &str = "trap exit TERM; sleep 1000 & wait";

fn asking(resources: Value) -> Value {
    let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    json!({"container": {"resources": resources, "resizePolicy": policy}})
}

fn resize(node: &TestNode, name: &str, resources: Value) {
    let mut pod = node.get(name).expect("a pod");
    pod["spec"]["containers"][0]["resources"] = resources;
    let generation = pod["metadata"]["generation"].as_i64().unwrap_or(1);
    pod["metadata"]["generation"] = (generation + 1).into();
    node.api.put(Resource::PODS, "default", pod);
}

fn condition(pod: &Value, name: &str) -> Value {
    let all = pod["status"]["conditions"].as_array();
    let found = all.into_iter().flatten().find(|c| c["type"] == name);
    found.cloned().unwrap_or_default()
}

/// A file of the cgroup of a pod's container, or of the pod itself.
fn of_cgroup(node: &TestNode, pod: &Value, container: &str, files: [(&str, &str); 2]) -> String {
    let cgroups = Cgroups::detect().expect("cgroups");
    let class = pod["status"]["qosClass"].as_str().expect("a class");
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    let root = Layout::new(&node.dir).cgroup;
    let path = format!("{root}/{}/pod{uid}/{container}", class.to_lowercase());
    let (controller, file) = files[usize::from(cgroups.is_v2())];
    let dir = cgroups.dir(controller, &path).expect("a controller");
    let text = std::fs::read_to_string(dir.join(file));
    let text = text.unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_string()
}

const QUOTA: [(&str, &str); 2] = [("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.max")];
const MEMORY: [(&str, &str); 2] = [
    ("memory", "memory.limit_in_bytes"),
    ("memory", "memory.max"),
];
const CPUS: [(&str, &str); 2] = [("cpuset", "cpuset.cpus"), ("cpuset", "cpuset.cpus")];

pub async fn a_running_pod_is_given_other_resources() {
    let node = TestNode::start().await;
    let amounts = |cpu: &str, memory: &str| {
        json!({"requests": {"cpu": "100m", "memory": "16Mi"},
            "limits": {"cpu": cpu, "memory": memory}})
    };
    node.run("web", SLEEP, asking(amounts("200m", "64Mi")));
    let pod = node.until_running("web").await;
    assert_eq!(of_cgroup(&node, &pod, "main.0", QUOTA), "20000");
    resize(&node, "web", amounts("500m", "64Mi"));
    let actual = |pod: &Value, name: &str| {
        pod["status"]["containerStatuses"][0]["resources"]["limits"][name].clone()
    };
    let pod = node.until("web", |pod| actual(pod, "cpu") == "500m").await;
    assert_eq!(of_cgroup(&node, &pod, "main.0", QUOTA), "50000");
    assert_eq!(
        of_cgroup(&node, &pod, "", QUOTA),
        "50000",
        "the pod as a whole"
    );
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    // Less again, of both; memory restarts it.
    resize(&node, "web", amounts("100m", "32Mi"));
    let over = |pod: &Value| {
        let restarted = pod["status"]["containerStatuses"][0]["restartCount"] == 1;
        restarted && ready(pod) && condition(pod, "PodResizeInProgress").is_null()
    };
    let pod = node.until("web", over).await;
    assert_eq!(
        of_cgroup(&node, &pod, "main.1", MEMORY),
        (32 << 20).to_string()
    );
    assert_eq!(of_cgroup(&node, &pod, "main.1", QUOTA), "10000");
    assert_eq!(of_cgroup(&node, &pod, "", MEMORY), (32 << 20).to_string());
    node.until_event("web", "ResizeCompleted: Pod resize completed")
        .await;
    node.delete("web", 1).await;
    node.until_gone("web").await;
    node.remove().await;
}

pub async fn a_resize_waits_for_room_and_what_can_never_be_is_told() {
    let all = std::thread::available_parallelism()
        .expect("processors")
        .get();
    let all = i64::try_from(all).expect("a number") * 1000;
    let small = move |config: &mut kabuki_agent::AgentConfig| {
        // One processor is left for pods.
        config.reserved = vec![Reserved {
            cpu_milli: all - 1000,
            ..Reserved::default()
        }];
    };
    let mut node = TestNode::start_with(TestNode::dir(), FakeApi::new(), small).await;
    let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
    node.run("large", SLEEP, asking(asks("700m")));
    node.run("small", SLEEP, asking(asks("100m")));
    node.until_running("large").await;
    node.until_running("small").await;
    let pending = |pod: &Value| condition(pod, "PodResizePending");
    resize(&node, "small", asks("1500m"));
    let pod = node
        .until("small", |pod| pending(pod)["reason"] == "Infeasible")
        .await;
    assert_eq!(
        pending(&pod)["message"],
        "Node didn't have enough capacity: cpu, requested: 1500, capacity: 1000"
    );
    resize(&node, "small", asks("500m"));
    let pod = node
        .until("small", |pod| pending(pod)["reason"] == "Deferred")
        .await;
    assert_eq!(
        pending(&pod)["message"],
        "Node didn't have enough resource: cpu, requested: 500, used: 700, capacity: 1000"
    );
    let granted =
        |pod: &Value| pod["status"]["containerStatuses"][0]["allocatedResources"]["cpu"].clone();
    assert_eq!(granted(&pod), "100m");
    // What was granted outlives the agent, and so does the wish.
    node.stop().await;
    let (dir, api) = (node.dir.clone(), node.api.clone());
    drop(node);
    let node = TestNode::start_with(dir, api, small).await;
    let pod = node
        .until("small", |pod| pending(pod)["reason"] == "Deferred")
        .await;
    assert_eq!(granted(&pod), "100m");
    node.delete("large", 1).await;
    let pod = node.until("small", |pod| granted(pod) == "500m").await;
    assert!(pending(&pod).is_null(), "{pod:#}");
    node.delete("small", 1).await;
    node.until_gone("small").await;
    node.remove().await;
}

pub async fn pods_from_files_run_are_mirrored_and_go_with_their_files() {
    let dir = TestNode::dir();
    let folder = dir.join("static");
    let place = folder.clone();
    let with_folder = move |config: &mut kabuki_agent::AgentConfig| {
        config.static_pods = Some(place.clone());
    };
    let api = FakeApi::new();
    let mut node = TestNode::start_with(dir, api, with_folder.clone()).await;
    let write = |variable: &str| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                "name": "main", "image": crate::node::IMAGE, "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", "echo $V; trap exit TERM; sleep 1000 & wait"],
                "env": [{"name": "V", "value": variable}]}]}});
        std::fs::write(folder.join("web.yaml"), pod.to_string()).expect("written");
    };
    write("one");
    let pod = node.until_running("web-n1").await;
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["kubernetes.io/config.source"], "file");
    let hash = &annotations["kubernetes.io/config.hash"];
    assert_eq!(&annotations["kubernetes.io/config.mirror"], hash);
    assert_eq!(pod["metadata"]["ownerReferences"][0]["name"], "n1");
    node.until_log("web-n1", "one\n").await;
    let container = |pod: &Value| pod["status"]["containerStatuses"][0]["containerID"].clone();
    // Whoever deletes the mirror ends nothing.
    let (first, uid) = (container(&pod), pod["metadata"]["uid"].clone());
    node.api.forget(Resource::PODS, "default", "web-n1");
    let again = |pod: &Value| pod["metadata"]["uid"] != uid && container(pod) == first;
    node.until("web-n1", again).await;
    // Another text is another pod.
    write("two");
    let changed = |pod: &Value| container(pod) != first && ready(pod);
    let pod = node.until("web-n1", changed).await;
    node.until_log("web-n1", "two\n").await;
    // An agent that comes back adopts it.
    let second = container(&pod);
    node.stop().await;
    let (dir, api) = (node.dir.clone(), node.api.clone());
    drop(node);
    let node = TestNode::start_with(dir, api, with_folder).await;
    node.until_actor("web-n1").await;
    let pod = node.until_running("web-n1").await;
    assert_eq!(container(&pod), second);
    std::fs::write(folder.join("bad.yaml"), "kind: Service\napiVersion: v1\n").expect("written");
    std::fs::remove_file(folder.join("web.yaml")).expect("removed");
    node.until_gone("web-n1").await;
    node.until_no_actor("web-n1").await;
    node.remove().await;
}

pub async fn containers_with_whole_processors_have_them_to_themselves() {
    let all = std::thread::available_parallelism()
        .expect("processors")
        .get();
    assert!(all >= 2, "it takes two processors to keep one");
    let exclusive = |config: &mut kabuki_agent::AgentConfig| {
        config.exclusive_cpus = true;
        config.reserved_cpus = Some("0".parse().expect("a set"));
    };
    let mut node = TestNode::start_with(TestNode::dir(), FakeApi::new(), exclusive).await;
    node.run("shares", SLEEP, json!({}));
    let shares = node.until_running("shares").await;
    let before = of_cgroup(&node, &shares, "main.0", CPUS);
    let whole = json!({"cpu": "1", "memory": "16Mi"});
    let whole = json!({"requests": whole, "limits": whole});
    let asks = json!({"container": {"resources": whole}});
    node.run("owns", SLEEP, asks.clone());
    let owns = node.until_running("owns").await;
    let own = of_cgroup(&node, &owns, "main.0", CPUS);
    assert!(own.parse::<u32>().is_ok_and(|cpu| cpu > 0), "{own}");
    let cpus = |node: &TestNode, pod: &Value| of_cgroup(node, pod, "main.0", CPUS);
    let without = |text: &str| text != before && !text.split(',').any(|part| part == own);
    node.eventually("room for it", || without(&cpus(&node, &shares)))
        .await;
    if all == 2 {
        // Nothing is left to be given.
        node.run("fails", SLEEP, asks);
        let failed = node
            .until("fails", |pod| pod["status"]["phase"] == "Failed")
            .await;
        assert_eq!(failed["status"]["reason"], "UnexpectedAdmissionError");
        let message = failed["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("requested=1, available=0"), "{message}");
        node.delete("fails", 0).await;
    }
    let more = json!({"cpu": "2", "memory": "16Mi"});
    resize(&node, "owns", json!({"requests": more, "limits": more}));
    let told = |pod: &Value| condition(pod, "PodResizePending")["reason"] == "Infeasible";
    node.until("owns", told).await;
    node.stop().await;
    let (dir, api) = (node.dir.clone(), node.api.clone());
    drop(node);
    let node = TestNode::start_with(dir, api, exclusive).await;
    node.until_actor("owns").await;
    assert_eq!(cpus(&node, &owns), own);
    node.run("late", SLEEP, json!({}));
    let late = node.until_running("late").await;
    assert!(without(&cpus(&node, &late)));
    node.delete("owns", 1).await;
    node.until_gone("owns").await;
    node.eventually("all to share", || cpus(&node, &shares) == before)
        .await;
    for name in ["shares", "late"] {
        node.delete(name, 1).await;
        node.until_gone(name).await;
    }
    node.remove().await;
}
