mod documented;

use super::*;
use k8s_openapi::api::core::v1 as core;
use serde_json::Value;
use std::collections::BTreeSet;

/// Fails unless every field of the type is in the table or in the list of honoured ones, and
/// every line of both names a field.
fn decided<T: schemars::JsonSchema>(table: Table<T>, honoured: &[&str]) {
    let schema: Value = schemars::schema_for!(T).to_value();
    let fields: BTreeSet<&str> = schema["properties"]
        .as_object()
        .expect("a type with fields")
        .keys()
        .map(String::as_str)
        .collect();
    let listed: BTreeSet<&str> = table
        .iter()
        .map(|(f, _)| *f)
        .chain(honoured.iter().copied())
        .collect();
    let name = std::any::type_name::<T>();
    let undecided: Vec<_> = fields.difference(&listed).collect();
    assert!(
        undecided.is_empty(),
        "{name}: neither honoured nor refused: {undecided:?}"
    );
    let unknown: Vec<_> = listed.difference(&fields).collect();
    assert!(unknown.is_empty(), "{name}: no such field: {unknown:?}");
}

#[test]
fn every_field_is_honoured_or_refused() {
    decided(
        POD_SPEC,
        &[
            "activeDeadlineSeconds",
            "ephemeralContainers",
            "initContainers",
            "readinessGates",
            "setHostnameAsFQDN",
            "affinity",
            "automountServiceAccountToken",
            "containers",
            "dnsConfig",
            "dnsPolicy",
            "enableServiceLinks",
            "hostAliases",
            "hostIPC",
            "hostNetwork",
            "hostPID",
            "hostUsers",
            "hostname",
            "imagePullSecrets",
            "nodeName",
            "nodeSelector",
            "overhead",
            "priority",
            "resources",
            "restartPolicy",
            "runtimeClassName",
            "schedulerName",
            "securityContext",
            "serviceAccount",
            "serviceAccountName",
            "shareProcessNamespace",
            "subdomain",
            "terminationGracePeriodSeconds",
            "tolerations",
            "volumes",
        ],
    );
    decided(AFFINITY, &["nodeAffinity"]);
    decided(TOLERATION, &["effect", "key", "tolerationSeconds", "value"]);
    decided(
        POD_SECURITY,
        &[
            "appArmorProfile",
            "fsGroup",
            "fsGroupChangePolicy",
            "runAsGroup",
            "runAsNonRoot",
            "runAsUser",
            "seccompProfile",
            "supplementalGroups",
            "supplementalGroupsPolicy",
            "sysctls",
        ],
    );
    decided(
        CONTAINER,
        &[
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "resizePolicy",
            "restartPolicy",
            "restartPolicyRules",
            "startupProbe",
            "terminationMessagePolicy",
            "args",
            "command",
            "env",
            "envFrom",
            "image",
            "imagePullPolicy",
            "name",
            "ports",
            "resources",
            "securityContext",
            "stdin",
            "stdinOnce",
            "terminationMessagePath",
            "tty",
            "volumeMounts",
            "workingDir",
        ],
    );
    decided(
        SECURITY,
        &[
            "allowPrivilegeEscalation",
            "appArmorProfile",
            "capabilities",
            "privileged",
            "procMount",
            "readOnlyRootFilesystem",
            "runAsGroup",
            "runAsNonRoot",
            "runAsUser",
            "seccompProfile",
        ],
    );
    decided(RESOURCES, &["limits", "requests"]);
    decided(
        ENV_SOURCE,
        &[
            "configMapKeyRef",
            "fieldRef",
            "resourceFieldRef",
            "secretKeyRef",
        ],
    );
    decided(
        MOUNT,
        &[
            "mountPath",
            "name",
            "readOnly",
            "recursiveReadOnly",
            "subPath",
            "subPathExpr",
        ],
    );
    decided(
        VOLUME,
        &[
            "configMap",
            "downwardAPI",
            "emptyDir",
            "hostPath",
            "name",
            "projected",
            "secret",
        ],
    );
    decided(
        PROJECTION,
        &["configMap", "downwardAPI", "secret", "serviceAccountToken"],
    );
    decided(EMPTY_DIR, &["medium", "sizeLimit"]);
    decided(CONFIG_MAP, &["defaultMode", "items", "name", "optional"]);
    decided(SECRET, &["defaultMode", "items", "optional", "secretName"]);
    decided(ITEM, &["key", "mode", "path"]);
    decided(PORT, &["containerPort", "hostPort", "name", "protocol"]);
}

#[test]
fn types_without_refusals_are_known_in_full() {
    decided(HOOK, &["exec", "httpGet", "sleep"]);
    decided(HTTP_GET, &["host", "httpHeaders", "path", "port", "scheme"]);
    decided::<core::Lifecycle>(&[], &["postStart", "preStop", "stopSignal"]);
    decided::<core::GRPCAction>(&[], &["mode", "port", "service"]);
    decided::<core::TCPSocketAction>(&[], &["host", "port"]);
    decided::<core::PodReadinessGate>(&[], &["conditionType"]);
    decided::<core::ContainerRestartRule>(&[], &["action", "exitCodes"]);
    decided::<core::Probe>(
        &[],
        &[
            "exec",
            "failureThreshold",
            "grpc",
            "httpGet",
            "initialDelaySeconds",
            "periodSeconds",
            "successThreshold",
            "tcpSocket",
            "terminationGracePeriodSeconds",
            "timeoutSeconds",
        ],
    );
    decided(DOWNWARD, &["defaultMode", "items"]);
    decided(
        DOWNWARD_FILE,
        &["fieldRef", "mode", "path", "resourceFieldRef"],
    );
    decided(PROJECTED, &["defaultMode", "sources"]);
    decided(TOKEN, &["audience", "expirationSeconds", "path"]);
    decided::<core::DownwardAPIProjection>(&[], &["items"]);
    decided::<core::EnvVar>(&[], &["name", "value", "valueFrom"]);
    decided::<core::EnvFromSource>(&[], &["configMapRef", "prefix", "secretRef"]);
    decided::<core::HostPathVolumeSource>(&[], &["path", "type"]);
    decided::<core::HostAlias>(&[], &["hostnames", "ip"]);
    decided::<core::PodDNSConfig>(&[], &["nameservers", "options", "searches"]);
    decided::<core::SeccompProfile>(&[], &["localhostProfile", "type"]);
    decided::<core::Capabilities>(&[], &["add", "drop"]);
    decided::<core::LocalObjectReference>(&[], &["name"]);
    decided::<core::NodeAffinity>(
        &[],
        &[
            "preferredDuringSchedulingIgnoredDuringExecution",
            "requiredDuringSchedulingIgnoredDuringExecution",
        ],
    );
}
