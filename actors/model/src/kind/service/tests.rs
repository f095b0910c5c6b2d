//! Rules of services.

use super::*;
use serde_json::{Value, json};

/// A service as it is after defaulting at creation.
fn service(spec: Value) -> Service {
    let value = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec});
    let mut object = serde_json::from_value(value).expect("decodes");
    ServiceRules::default(&mut object);
    ServiceRules::prepare_create(&mut object);
    object
}

fn faults(spec: Value) -> Vec<String> {
    let causes = ServiceRules::validate(&service(spec));
    causes
        .into_iter()
        .map(|c| format!("{}: {}", c.field, c.message))
        .collect()
}

fn ports() -> Value {
    json!([{"port": 80}])
}

#[test]
fn a_plain_service_gets_what_kubernetes_documents() {
    let object = service(json!({"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}));
    let spec = serde_json::to_value(&object.spec).expect("JSON");
    assert_eq!(
        spec,
        json!({
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [
                {"port": 80, "protocol": "TCP", "targetPort": 80},
                {"port": 53, "protocol": "UDP", "targetPort": 53},
            ],
        })
    );
}

#[test]
fn types_and_affinity_bring_their_own_defaults() {
    let spec =
        service(json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": ports()}));
    let spec = spec.spec.expect("has one");
    assert_eq!(spec.allocate_load_balancer_node_ports, Some(true));
    assert_eq!(spec.external_traffic_policy.as_deref(), Some("Cluster"));
    let config = spec.session_affinity_config.and_then(|c| c.client_ip);
    assert_eq!(config.and_then(|c| c.timeout_seconds), Some(10_800));
    let spec = service(json!({"externalIPs": ["192.0.2.1"], "ports": ports()}));
    let policy = spec.spec.and_then(|s| s.external_traffic_policy);
    assert_eq!(policy.as_deref(), Some("Cluster"));
    let named = service(json!({"type": "ExternalName", "externalName": "a.example"}));
    let spec = named.spec.expect("has one");
    assert_eq!(
        (spec.internal_traffic_policy, spec.ip_families),
        (None, None)
    );
}

#[test]
fn what_is_well_formed_passes() {
    for spec in [
        json!({"ports": ports()}),
        json!({"clusterIP": "None"}),
        json!({"type": "ExternalName", "externalName": "a.example."}),
        json!({"type": "NodePort", "ports": [
            {"name": "a", "port": 53, "nodePort": 30053},
            {"name": "b", "port": 53, "protocol": "UDP", "nodePort": 30053},
        ]}),
        json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/lb", "ports": ports(),
            "loadBalancerSourceRanges": ["10.0.0.0/8", " 192.0.2.0/24 "]}),
        json!({"ipFamilyPolicy": "PreferDualStack", "trafficDistribution": "PreferSameNode",
            "ports": [{"port": 1, "protocol": "SCTP", "targetPort": "web", "appProtocol": "kubernetes.io/h2c"}]}),
    ] {
        assert_eq!(faults(spec.clone()), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn faults_are_worded_as_kubernetes_does() {
    let cases = [
        (json!({}), "spec.ports: Required value"),
        (
            json!({"type": "Big", "ports": ports()}),
            "spec.type: Unsupported value: \"Big\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ),
        (
            json!({"ports": [{"name": "a", "port": 0, "targetPort": 1}]}),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]}),
            "spec.ports[1]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}",
        ),
        (
            json!({"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}),
            "spec.ports[1].name: Duplicate value: \"a\"",
        ),
        (
            json!({"ports": [{"port": 1}, {"name": "a", "port": 2}]}),
            "spec.ports[0].name: Required value",
        ),
        (
            json!({"ports": [{"port": 1, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            json!({"type": "NodePort", "ports": [
                {"name": "a", "port": 1, "nodePort": 30000}, {"name": "b", "port": 2, "nodePort": 30000},
            ]}),
            "spec.ports[1].nodePort: Duplicate value: 30000",
        ),
        (
            json!({"type": "NodePort", "clusterIP": "None", "ports": ports()}),
            "spec.clusterIPs[0]: Invalid value: [\"None\"]: may not be set to 'None' for NodePort services",
        ),
        (
            json!({"type": "ExternalName"}),
            "spec.externalName: Required value",
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.example", "clusterIP": "10.0.0.1"}),
            "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
        ),
        (
            json!({"ipFamilies": ["IPv6"], "ports": ports()}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (
            json!({"ipFamilyPolicy": "RequireDualStack", "ports": ports()}),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        ),
        (
            json!({"clusterIPs": ["10.0.0.1"], "ports": ports()}),
            "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified",
        ),
        (
            json!({"externalIPs": ["127.0.0.1"], "ports": ports()}),
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            json!({"loadBalancerSourceRanges": ["10.0.0.0/8"], "ports": ports()}),
            "spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            json!({"loadBalancerClass": "a/b", "ports": ports()}),
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            json!({"allocateLoadBalancerNodePorts": true, "ports": ports()}),
            "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            json!({"externalTrafficPolicy": "Local", "ports": ports()}),
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
        ),
        (
            json!({"type": "NodePort", "healthCheckNodePort": 30000, "ports": ports()}),
            "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ),
        (
            json!({"sessionAffinity": "ClientIP", "ports": ports(),
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400",
        ),
        (
            json!({"trafficDistribution": "Near", "ports": ports()}),
            "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
        ),
        (
            json!({"type": "LoadBalancer", "ports": [{"port": 10250}]}),
            "spec.ports[0].port: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet",
        ),
    ];
    for (spec, fault) in cases {
        assert_eq!(faults(spec.clone()), [fault], "{spec}");
    }
}

#[test]
fn a_class_cannot_change_while_the_type_stays() {
    let of = |class: &str| {
        service(json!({"type": "LoadBalancer", "loadBalancerClass": class, "ports": ports()}))
    };
    let causes = ServiceRules::validate_update(&of("a/b"), &of("a/c"));
    assert_eq!(causes[0].field, "spec.loadBalancerClass");
    assert!(ServiceRules::validate_update(&of("a/b"), &of("a/b")).is_empty());
    assert!(
        ServiceRules::validate_update(&service(json!({"ports": ports()})), &of("a/b")).is_empty()
    );
}

#[test]
fn only_load_balancers_have_an_ingress() {
    let with = |service_type: &str, ingress: Value| {
        let mut object = service(json!({"type": service_type, "ports": ports()}));
        let status = json!({"loadBalancer": {"ingress": [ingress]}});
        object.status = serde_json::from_value(status).expect("decodes");
        let causes = ServiceRules::validate_status(&object, &object);
        causes.into_iter().map(|c| c.field).collect::<Vec<_>>()
    };
    let good =
        json!({"ip": "192.0.2.1", "ipMode": "VIP", "ports": [{"port": 80, "protocol": "TCP"}]});
    assert!(with("LoadBalancer", good.clone()).is_empty());
    assert_eq!(with("NodePort", good), ["status.loadBalancer.ingress"]);
    let field = |name: &str| format!("status.loadBalancer.ingress[0].{name}");
    assert_eq!(with("LoadBalancer", json!({"ip": "x"})), [field("ip")]);
    assert_eq!(
        with("LoadBalancer", json!({"ipMode": "VIP"})),
        [field("ipMode")]
    );
    assert_eq!(
        with("LoadBalancer", json!({"hostname": "10.0.0.1"})),
        [field("hostname")]
    );
}

#[test]
fn the_row_is_kubectls() {
    let row = |spec: Value, status: Value| {
        let mut object = service(spec);
        object.status = serde_json::from_value(status).expect("decodes");
        ServiceRules::row(&object, Timestamp::UNIX_EPOCH)
    };
    let plain = json!({"clusterIP": "10.96.0.5", "selector": {"app": "web"}, "ports": ports()});
    assert_eq!(
        row(plain, Value::Null),
        [
            "web",
            "ClusterIP",
            "10.96.0.5",
            "<none>",
            "80/TCP",
            "<unknown>",
            "app=web"
        ]
    );
    let node = json!({"type": "NodePort", "clusterIP": "10.96.0.5", "externalIPs": ["192.0.2.9"],
        "ports": [{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 53, "protocol": "UDP"}]});
    assert_eq!(
        row(node, Value::Null)[3..5],
        ["192.0.2.9", "80:30080/TCP,53/UDP"]
    );
    let balancer = json!({"type": "LoadBalancer", "ports": ports()});
    assert_eq!(
        row(balancer.clone(), Value::Null)[2..4],
        ["<none>", "<pending>"]
    );
    let told =
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "a.example"}]}});
    assert_eq!(row(balancer, told)[3], "192.0.2.2,a.example");
    let named = json!({"type": "ExternalName", "externalName": "a.example"});
    assert_eq!(
        row(named, Value::Null)[2..5],
        ["<none>", "a.example", "<none>"]
    );
    assert_eq!(row(json!({"clusterIP": "None"}), Value::Null)[2], "None");
}
