//! What a pod's fields do inside the container.

use kabuki_tests::harness::{Daemon, busybox_archive};

pub(super) fn node_with_busybox() -> Daemon {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node
}

const PROBE: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: green, "app.conf": "a=1\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: hunter2}
---
apiVersion: v1
kind: Pod
metadata: {name: probe}
spec:
  hostname: stage
  hostAliases: [{ip: 10.1.2.3, hostnames: [db.example]}]
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: ["sleep", "1000"]
    workingDir: /tmp
    env:
    - {name: FIRST, value: one}
    - {name: SECOND, value: "$(FIRST)-two"}
    - name: COLOUR
      valueFrom: {configMapKeyRef: {name: settings, key: colour}}
    - name: POD
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    envFrom: [{prefix: KEY_, secretRef: {name: keys}}]
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    securityContext: {readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts:
    - {name: scratch, mountPath: /scratch}
    - {name: conf, mountPath: /conf, readOnly: true}
    - {name: conf, mountPath: /etc/app.conf, subPath: app.conf}
  volumes:
  - {name: scratch, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: conf, configMap: {name: settings, defaultMode: 0440}}
"#;

#[test]
fn the_fields_of_a_pod_take_effect_inside_it() {
    let node = node_with_busybox();
    node.apply(PROBE);
    node.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/probe",
        "--timeout=30s",
    ]);
    let sh = |script: &str| node.ok(&["exec", "probe", "--", "sh", "-c", script]);
    assert_eq!(
        sh("echo $SECOND $COLOUR $POD $KEY_token"),
        "one-two green probe hunter2\n"
    );
    assert_eq!(
        sh("hostname; pwd; id -u; id -g; id -G"),
        "stage\n/tmp\n1000\n1000\n1000 2000\n"
    );
    assert_eq!(sh("cat /etc/app.conf /conf/colour"), "a=1\ngreen");
    assert!(sh("cat /etc/hosts").contains("10.1.2.3\tdb.example"));
    assert_eq!(
        sh("grep CapEff /proc/self/status | cut -f2"),
        "0000000000000000\n"
    );
    assert_eq!(sh("echo x > /scratch/f && stat -c %g /scratch"), "2000\n");
    let full = node.cli(&[
        "exec",
        "probe",
        "--",
        "sh",
        "-c",
        "dd if=/dev/zero of=/scratch/big bs=1M count=2",
    ]);
    assert!(full.err.contains("No space left"), "{full:?}");
    let readonly = node.cli(&["exec", "probe", "--", "touch", "/etc/x"]);
    assert!(
        readonly.err.contains("Read-only file system"),
        "{readonly:?}"
    );
    let exit = node.cli(&["exec", "probe", "--", "sh", "-c", "exit 7"]);
    assert_eq!(exit.code, 7);
    assert_eq!(node.value("pod/probe", "{.status.qosClass}"), "Guaranteed");
}

#[test]
fn a_crashing_container_backs_off_and_says_why() {
    let node = node_with_busybox();
    node.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: crash}\nspec:\n  containers:\n  - name: main\n    \
         image: busybox\n    imagePullPolicy: IfNotPresent\n    command: [sh, -c, 'echo last words; exit 3']\n",
    );
    let state = "{.status.containerStatuses[0].state.waiting.reason}";
    node.wait_value("pod/crash", state, "CrashLoopBackOff");
    let code = "{.status.containerStatuses[0].lastState.terminated.exitCode}";
    assert_eq!(node.value("pod/crash", code), "3");
    assert_eq!(node.ok(&["logs", "crash", "--previous"]), "last words\n");
    assert!(
        node.ok(&["describe", "pod", "crash"])
            .contains("Back-off restarting failed container")
    );
}

#[test]
fn a_container_that_eats_its_memory_is_oom_killed() {
    let node = node_with_busybox();
    node.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: eater}\nspec:\n  restartPolicy: Never\n  containers:\n  \
         - name: main\n    image: busybox\n    imagePullPolicy: IfNotPresent\n    \
         command: [sh, -c, 'tail /dev/zero']\n    resources: {limits: {memory: 16Mi}}\n",
    );
    node.wait_value("pod/eater", "{.status.phase}", "Failed");
    let reason = "{.status.containerStatuses[0].state.terminated.reason}";
    assert_eq!(node.value("pod/eater", reason), "OOMKilled");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let node = Daemon::start();
    let outcome = node.try_apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: main\n    \
         image: busybox\n    volumeDevices: [{name: v, devicePath: /d}]\n",
    );
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("spec.containers[0].volumeDevices"),
        "{outcome:?}"
    );
    let outcome =
        node.try_apply("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {contaners: []}\n");
    assert!(
        outcome.err.contains("unknown field \"spec.contaners\""),
        "{outcome:?}"
    );
}

#[test]
fn a_pod_that_fills_its_volume_beyond_the_limit_is_evicted() {
    let node = node_with_busybox();
    node.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: hoarder}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
         containers:\n  - name: main\n    image: busybox\n    imagePullPolicy: IfNotPresent\n    \
         command: [sh, -c, 'dd if=/dev/zero of=/scratch/big bs=1M count=4; sleep 1000']\n    \
         volumeMounts: [{name: scratch, mountPath: /scratch}]\n  volumes:\n  \
         - {name: scratch, emptyDir: {sizeLimit: 1Mi}}\n",
    );
    node.wait_value("pod/hoarder", "{.status.reason}", "Evicted");
    assert_eq!(node.value("pod/hoarder", "{.status.phase}"), "Failed");
    let message = node.value("pod/hoarder", "{.status.message}");
    assert_eq!(
        message,
        "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\"."
    );
}
