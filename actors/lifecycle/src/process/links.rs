//! The variables that name services (Kubernetes, "Accessing the Service", environment variables):
//! those of the pod's namespace when it asks for links, and in any case the API's own service, by
//! which programs find the API from inside of a pod.

use k8s_openapi::api::core::v1::Pod;
use kabuki_model::service::{ServiceKey, ServiceRecord};

/// The namespace and the name of the API's own service.
const API: (&str, &str) = ("default", "kubernetes");

/// Whether the pod gets variables of this service. Those without an address have none.
fn is_linked(pod: &Pod, service: &ServiceKey) -> bool {
    let asks = pod.spec.as_ref().and_then(|s| s.enable_service_links);
    let own = pod.metadata.namespace.as_deref() == Some(&*service.namespace);
    (asks.unwrap_or(true) && own) || (&*service.namespace, &*service.name) == API
}

/// The variables of services, in their order. A service of the pod's own namespace wins over the
/// API's where both have the same name.
pub fn links<'a>(
    pod: &Pod,
    services: impl Iterator<Item = &'a ServiceRecord>,
) -> Vec<(String, String)> {
    let own = |s: &&ServiceRecord| pod.metadata.namespace.as_deref() == Some(&*s.key.namespace);
    let mut linked: Vec<&ServiceRecord> = services.filter(|s| is_linked(pod, &s.key)).collect();
    linked.sort_by_key(|s| own(s));
    linked.into_iter().flat_map(variables).collect()
}

fn variables(service: &ServiceRecord) -> Vec<(String, String)> {
    let (Some(address), Some(first)) = (service.cluster_ips.first(), service.ports.first()) else {
        return Vec::new();
    };
    let host = match address.is_ipv6() {
        true => format!("[{address}]"),
        false => address.to_string(),
    };
    let name = upper(&service.key.name);
    let mut all = vec![
        (format!("{name}_SERVICE_HOST"), address.to_string()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in service.ports.iter().filter(|p| !p.name.is_empty()) {
        let own = format!("{name}_SERVICE_PORT_{}", upper(&port.name));
        all.push((own, port.port.to_string()));
    }
    for (number, port) in service.ports.iter().enumerate() {
        let protocol = port.protocol.as_str();
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if number == 0 {
            all.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{protocol}", port.port);
        all.push((prefix.clone(), url));
        all.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
        all.push((format!("{prefix}_PORT"), port.port.to_string()));
        all.push((format!("{prefix}_ADDR"), address.to_string()));
    }
    all
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    fn service(namespace: &str, name: &str, spec: serde_json::Value) -> ServiceRecord {
        let object = json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
        let object: Service = serde_json::from_value(object).expect("a service");
        ServiceRecord::from(&object)
    }

    fn named(wants_links: bool) -> Vec<String> {
        let pod = json!({"metadata": {"name": "p", "namespace": "shop"},
            "spec": {"containers": [], "enableServiceLinks": wants_links}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let services = [
            service(
                "default",
                "kubernetes",
                json!({"clusterIPs": ["10.96.0.1"], "ports": [{"name": "https", "port": 443}]}),
            ),
            service(
                "default",
                "other",
                json!({"clusterIPs": ["10.96.0.2"], "ports": [{"port": 1}]}),
            ),
            service(
                "shop",
                "redis-primary",
                json!({"clusterIPs": ["10.0.0.11"], "ports": [{"port": 6379}, {"name": "m", "port": 53, "protocol": "UDP"}]}),
            ),
            service(
                "shop",
                "headless",
                json!({"clusterIPs": ["None"], "ports": [{"port": 1}]}),
            ),
        ];
        let all = links(&pod, services.iter());
        all.into_iter().map(|(n, v)| format!("{n}={v}")).collect()
    }

    #[test]
    fn services_of_the_namespace_and_the_api_are_named() {
        assert_eq!(
            named(true),
            [
                "KUBERNETES_SERVICE_HOST=10.96.0.1",
                "KUBERNETES_SERVICE_PORT=443",
                "KUBERNETES_SERVICE_PORT_HTTPS=443",
                "KUBERNETES_PORT=tcp://10.96.0.1:443",
                "KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443",
                "KUBERNETES_PORT_443_TCP_PROTO=tcp",
                "KUBERNETES_PORT_443_TCP_PORT=443",
                "KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1",
                "REDIS_PRIMARY_SERVICE_HOST=10.0.0.11",
                "REDIS_PRIMARY_SERVICE_PORT=6379",
                "REDIS_PRIMARY_SERVICE_PORT_M=53",
                "REDIS_PRIMARY_PORT=tcp://10.0.0.11:6379",
                "REDIS_PRIMARY_PORT_6379_TCP=tcp://10.0.0.11:6379",
                "REDIS_PRIMARY_PORT_6379_TCP_PROTO=tcp",
                "REDIS_PRIMARY_PORT_6379_TCP_PORT=6379",
                "REDIS_PRIMARY_PORT_6379_TCP_ADDR=10.0.0.11",
                "REDIS_PRIMARY_PORT_53_UDP=udp://10.0.0.11:53",
                "REDIS_PRIMARY_PORT_53_UDP_PROTO=udp",
                "REDIS_PRIMARY_PORT_53_UDP_PORT=53",
                "REDIS_PRIMARY_PORT_53_UDP_ADDR=10.0.0.11",
            ]
        );
    }

    #[test]
    fn a_pod_that_wants_no_links_still_finds_the_api() {
        let without = named(false);
        assert_eq!(without.len(), 8);
        assert!(without.iter().all(|line| line.starts_with("KUBERNETES_")));
    }
}
