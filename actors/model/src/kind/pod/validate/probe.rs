//! Probes and hooks (API reference, `Probe`, `Lifecycle`).

use super::super::super::path::Path;
use super::super::unsupported::{self, refuse};
use super::Context;
use super::container::port_name;
use crate::status::Cause;
use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe,
    SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The signals that a container of a Linux pod may name.
const SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// What a probe or hook may do; of these exactly one.
#[derive(Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http: Option<&'a HTTPGetAction>,
    tcp: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

/// The probes and hooks of a container. Those of an init container that does not stay would never
/// be used, and are refused.
pub(super) fn of_container(
    context: Context,
    container: &Container,
    stays: bool,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    let why = "may not be set for init containers without restartPolicy=Always";
    for (field, probe) in probes {
        let path = path.child(field);
        match probe {
            Some(_) if !stays => causes.push(Cause::forbidden(path, why)),
            Some(probe) => self::probe(context, field, probe, &path, causes),
            None => {}
        }
    }
    let path = path.child("lifecycle");
    match &container.lifecycle {
        Some(_) if !stays => causes.push(Cause::forbidden(path, why)),
        Some(lifecycle) => hooks(context, lifecycle, &path, causes),
        None => {}
    }
}

fn probe(context: Context, field: &str, probe: &Probe, path: &Path, causes: &mut Vec<Cause>) {
    let found = Handler {
        exec: probe.exec.as_ref(),
        http: probe.http_get.as_ref(),
        tcp: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    handler(context, found, path, causes);
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        if let Some(value) = value.filter(|v| *v < 0) {
            let why = "must be greater than or equal to 0";
            causes.push(Cause::invalid(path.child(name), value, why));
        }
    }
    let grace = path.child("terminationGracePeriodSeconds");
    match probe.termination_grace_period_seconds {
        Some(seconds) if field == "readinessProbe" => {
            let why = "must not be set for readinessProbes";
            causes.push(Cause::invalid(grace, seconds, why));
        }
        Some(seconds) if seconds <= 0 => {
            causes.push(Cause::invalid(grace, seconds, "must be greater than 0"));
        }
        _ => {}
    }
    let successes = probe.success_threshold.unwrap_or(1);
    if field != "readinessProbe" && successes != 1 && successes >= 0 {
        let path = path.child("successThreshold");
        causes.push(Cause::invalid(path, successes, "must be 1"));
    }
}

fn hooks(context: Context, lifecycle: &Lifecycle, path: &Path, causes: &mut Vec<Cause>) {
    for (field, hook) in [
        ("postStart", &lifecycle.post_start),
        ("preStop", &lifecycle.pre_stop),
    ] {
        if let Some(hook) = hook {
            self::hook(context, hook, &path.child(field), causes);
        }
    }
    let Some(signal) = lifecycle.stop_signal.as_deref() else {
        return;
    };
    let path = path.child("stopSignal");
    if context.spec.os.as_ref().is_none_or(|os| os.name.is_empty()) {
        let why = "may not be set for containers without a spec.os.name";
        causes.push(Cause::forbidden(path, why));
        return;
    }
    let real_time = signal
        .strip_prefix("SIGRTMIN+")
        .or_else(|| signal.strip_prefix("SIGRTMAX-"));
    let is_real_time = matches!(signal, "SIGRTMIN" | "SIGRTMAX")
        || real_time.is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n <= 15));
    if !is_real_time {
        path.one_of(Some(signal), SIGNALS, causes);
    }
}

fn hook(context: Context, hook: &LifecycleHandler, path: &Path, causes: &mut Vec<Cause>) {
    let found = Handler {
        exec: hook.exec.as_ref(),
        http: hook.http_get.as_ref(),
        tcp: hook.tcp_socket.as_ref(),
        grpc: None,
        sleep: hook.sleep.as_ref(),
    };
    refuse(unsupported::HOOK, hook, path, causes);
    handler(context, found, path, causes);
}

fn handler(context: Context, found: Handler, path: &Path, causes: &mut Vec<Cause>) {
    let mut handlers = 0;
    let mut one = |field: &'static str, causes: &mut Vec<Cause>| {
        handlers += 1;
        if handlers > 1 {
            let why = "may not specify more than 1 handler type";
            causes.push(Cause::forbidden(path.child(field), why));
        }
        handlers == 1
    };
    if let Some(action) = found.exec
        && one("exec", causes)
        && action.command.as_ref().is_none_or(Vec::is_empty)
    {
        let path = path.child("exec");
        causes.push(Cause::required(path.child("command"), ""));
    }
    if let Some(action) = found.http
        && one("httpGet", causes)
    {
        http(action, &path.child("httpGet"), causes);
    }
    if let Some(action) = found.tcp
        && one("tcpSocket", causes)
    {
        let path = path.child("tcpSocket");
        port(&action.port, &path.child("port"), causes);
    }
    if let Some(action) = found.grpc
        && one("grpc", causes)
    {
        let path = path.child("grpc");
        path.child("port")
            .in_range(action.port.into(), 1, 65535, causes);
        path.child("mode").one_of(
            action.mode.as_deref().or(Some("Plaintext")),
            &["Plaintext", "TLS"],
            causes,
        );
    }
    if let Some(action) = found.sleep
        && one("sleep", causes)
    {
        sleep(context, action, &path.child("sleep"), causes);
    }
    if handlers == 0 {
        causes.push(Cause::required(path, "must specify a handler type"));
    }
}

fn http(action: &HTTPGetAction, path: &Path, causes: &mut Vec<Cause>) {
    if action.path.as_deref().unwrap_or_default().is_empty() {
        causes.push(Cause::required(path.child("path"), ""));
    }
    port(&action.port, &path.child("port"), causes);
    path.child("scheme").one_of(
        action.scheme.as_deref().or(Some("HTTP")),
        &["HTTP", "HTTPS"],
        causes,
    );
    let headers = path.child("httpHeaders");
    for (index, header) in action.http_headers.iter().flatten().enumerate() {
        let path = headers.index(index);
        let name = &header.name;
        let letter = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        if name.is_empty() || !name.bytes().all(letter) {
            let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
                       'X-Header-Name')";
            causes.push(Cause::invalid(path.child("name"), name, why));
        }
        if header.value.contains(['\r', '\n']) {
            let why = "must not contain the end of a line";
            causes.push(Cause::invalid(path.child("value"), &header.value, why));
        }
    }
    refuse(unsupported::HTTP_GET, action, path, causes);
}

fn port(port: &IntOrString, path: &Path, causes: &mut Vec<Cause>) {
    match port {
        IntOrString::Int(number) => path.in_range((*number).into(), 1, 65535, causes),
        IntOrString::String(name) => port_name(name, path, causes),
    }
}

fn sleep(context: Context, action: &SleepAction, path: &Path, causes: &mut Vec<Cause>) {
    let grace = context.spec.termination_grace_period_seconds;
    let grace = grace.unwrap_or(super::super::GRACE_PERIOD_S);
    if action.seconds < 0 || action.seconds > grace {
        let why =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        causes.push(Cause::invalid(path.child("seconds"), action.seconds, &why));
    }
}
