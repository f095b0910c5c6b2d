//! The small controller at work.

use super::Way;
use futures::StreamExt;
use kabuki_kube_tests::publish;
use kabuki_tests::harness::{Daemon, until};

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, labels: {{publish: 'yes'}}}}\n\
         spec: {{ports: [{{name: http, port: {port}}}]}}\n"
    )
}

#[test]
fn a_controller_keeps_what_it_owns_and_survives_a_restart_of_the_node() {
    let mut node = Daemon::start();
    Way::to(&node).with_client(|client| async move {
        let rounds = tokio::spawn(publish(client).for_each(|_| async {}));
        let ports = "{.data.ports}";
        node.apply(&service("shop", 80));
        node.wait_value("cm/shop-address", ports, "http=80");
        let ip = node.value("service/shop", "{.spec.clusterIP}");
        assert_eq!(node.value("cm/shop-address", "{.data.address}"), ip);

        node.ok(&["delete", "cm", "shop-address"]);
        node.wait_value("cm/shop-address", ports, "http=80");
        let spoilt = r#"{"data":{"ports":"none"}}"#;
        node.ok(&["patch", "cm", "shop-address", "--type=merge", "-p", spoilt]);
        node.wait_value("cm/shop-address", ports, "http=80");

        node.restart();
        node.apply(&service("shop", 81));
        node.wait_value("cm/shop-address", ports, "http=81");
        node.apply(&service("bank", 90));
        node.wait_value("cm/bank-address", ports, "http=90");
        node.ok(&["delete", "cm", "bank-address"]);
        node.wait_value("cm/bank-address", ports, "http=90");
        assert!(!rounds.is_finished());

        node.ok(&["delete", "service", "shop"]);
        until("what it owned is gone", super::LIMIT, || {
            (node.cli(&["get", "cm", "shop-address"]).code == 1).then_some(())
        });
        rounds.abort();
        Ok(())
    });
}
