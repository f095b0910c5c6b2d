//! Objects through the typed and the dynamic interface.

use super::{Way, object, refusal, settings};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kabuki_tests::harness::Daemon;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    Preconditions,
};
use kube::discovery::{Discovery, Scope};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

fn colour(map: &ConfigMap) -> &str {
    map.data.as_ref().map_or("", |d| &d["colour"])
}

#[test]
fn objects_are_created_read_replaced_and_deleted() {
    let node = Daemon::start();
    Way::to(&node).with_client(|client| async move {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let usual = PostParams::default();
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        maps.create(&dry, &settings("a", "red")).await?;
        assert!(maps.get_opt("a").await?.is_none());
        let made = maps.create(&usual, &settings("a", "red")).await?;
        assert!(made.uid().is_some());
        let again = maps.create(&usual, &settings("a", "red")).await;
        assert_eq!(refusal(again), (409, "AlreadyExists".into()));
        assert_eq!(refusal(maps.get("none").await), (404, "NotFound".into()));

        let mut newer = made.clone();
        newer
            .data
            .get_or_insert_default()
            .insert("colour".into(), "blue".into());
        let replaced = maps.replace("a", &usual, &newer).await?;
        assert_eq!(colour(&replaced), "blue");
        let stale = maps.replace("a", &usual, &newer).await;
        assert_eq!(refusal(stale), (409, "Conflict".into()));

        maps.create(&usual, &settings("b", "red")).await?;
        let page = maps
            .list(&ListParams::default().labels("app=shop").limit(1))
            .await?;
        assert_eq!(page.items.len(), 1);
        let token = page.metadata.continue_.clone().expect("there is more");
        let rest = ListParams::default()
            .labels("app=shop")
            .limit(1)
            .continue_token(&token);
        let rest = maps.list(&rest).await?;
        assert_eq!(rest.items[0].name_any(), "b");
        let one = maps
            .list(&ListParams::default().fields("metadata.name=a"))
            .await?;
        assert_eq!(one.items.len(), 1);
        let partial = maps.get_metadata("a").await?;
        assert_eq!(partial.metadata.uid, made.metadata.uid);

        let other = Preconditions {
            uid: Some("another".into()),
            resource_version: None,
        };
        let kept = maps
            .delete("a", &DeleteParams::default().preconditions(other))
            .await;
        assert_eq!(refusal(kept), (409, "Conflict".into()));
        maps.delete("a", &DeleteParams::default()).await?;
        assert!(maps.get_opt("a").await?.is_none());
        let shop = ListParams::default().labels("app=shop");
        maps.delete_collection(&DeleteParams::default(), &shop)
            .await?;
        assert!(maps.list(&shop).await?.items.is_empty());
        Ok(())
    });
}

#[test]
fn patches_of_every_kind_are_applied_and_conflicts_are_told() {
    let node = Daemon::start();
    Way::to(&node).with_client(|client| async move {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let applied = |colour: &str| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "a"}, "data": {"colour": colour},
            })
        };
        let (mine, theirs) = (PatchParams::apply("mine"), PatchParams::apply("theirs"));
        let made = maps
            .patch("a", &mine, &Patch::Apply(applied("red")))
            .await?;
        assert_eq!(made.managed_fields()[0].manager.as_deref(), Some("mine"));
        let refused = maps
            .patch("a", &theirs, &Patch::Apply(applied("blue")))
            .await;
        assert_eq!(refusal(refused), (409, "Conflict".into()));
        let forced = theirs.force();
        let taken = maps
            .patch("a", &forced, &Patch::Apply(applied("blue")))
            .await?;
        assert_eq!(colour(&taken), "blue");

        let usual = PatchParams::default();
        let merge = Patch::Merge(json!({"data": {"size": "9"}}));
        maps.patch("a", &usual, &merge).await?;
        let strategic = Patch::Strategic(json!({"metadata": {"labels": {"app": "shop"}}}));
        maps.patch("a", &usual, &strategic).await?;
        let strict = PatchParams::default().validation_strict();
        let wrong = Patch::Merge(json!({"dta": {}}));
        let wrong = maps.patch("a", &strict, &wrong).await;
        assert!(format!("{wrong:?}").contains("unknown field"), "{wrong:?}");
        let shown = maps.get("a").await?;
        assert_eq!(shown.labels()["app"], "shop");
        assert_eq!(shown.data.as_ref().expect("data")["size"], "9");
        Ok(())
    });
}

#[test]
fn parts_of_objects_are_read_and_written_by_themselves() {
    let node = Daemon::start();
    Way::to(&node).with_client(|client| async move {
        let deployments: Api<Deployment> = Api::default_namespaced(client);
        let web: Deployment = object(json!({
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
                },
            },
        }));
        deployments.create(&PostParams::default(), &web).await?;
        assert_eq!(
            deployments
                .get_scale("web")
                .await?
                .spec
                .and_then(|s| s.replicas),
            Some(0)
        );
        let two = Patch::Merge(json!({"spec": {"replicas": 2}}));
        deployments
            .patch_scale("web", &PatchParams::default(), &two)
            .await?;
        let shown = deployments.get("web").await?;
        assert_eq!(shown.spec.replicas, Some(2));
        let note = json!({"status": {"conditions": [
            {"type": "Noted", "status": "True", "reason": "Asked", "message": ""},
        ]}});
        let (usual, note) = (PatchParams::default(), Patch::Strategic(note));
        let noted = deployments.patch_status("web", &usual, &note).await?;
        let conditions = noted.status.and_then(|s| s.conditions).unwrap_or_default();
        assert!(
            conditions
                .iter()
                .any(|c| c.type_.as_deref() == Some("Noted")),
            "{conditions:?}"
        );
        deployments.restart("web").await?;
        Ok(())
    });
}

/// The interface to kinds that the program does not know when it is built.
async fn find(client: &Client, kind: &str) -> (ApiResource, Scope) {
    let discovery = Discovery::new(client.clone())
        .run()
        .await
        .expect("it is answered");
    let mut groups = discovery.groups();
    let found = groups.find_map(|g| {
        let mut resources = g.recommended_resources().into_iter();
        resources.find(|(resource, _)| resource.kind == kind)
    });
    let (resource, capabilities) = found.unwrap_or_else(|| panic!("no {kind}"));
    (resource, capabilities.scope)
}

#[test]
fn kinds_are_discovered_and_used_without_their_types() {
    let node = Daemon::start();
    Way::to(&node).with_client(|client| async move {
        assert_eq!(client.apiserver_version().await?.major, "1");
        let groups = client.list_api_groups_aggregated().await?;
        assert!(
            groups
                .items
                .iter()
                .any(|g| { g.metadata.as_ref().and_then(|m| m.name.as_deref()) == Some("apps") })
        );
        let (resource, scope) = find(&client, "Namespace").await;
        assert_eq!(scope, Scope::Cluster);
        let namespaces: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let team = DynamicObject::new("team", &resource);
        namespaces.create(&PostParams::default(), &team).await?;
        let (resource, scope) = find(&client, "ConfigMap").await;
        assert_eq!(scope, Scope::Namespaced);
        let maps: Api<DynamicObject> = Api::namespaced_with(client.clone(), "team", &resource);
        let map = DynamicObject::new("a", &resource).data(json!({"data": {"colour": "red"}}));
        maps.create(&PostParams::default(), &map).await?;
        assert_eq!(maps.get("a").await?.data["data"]["colour"], "red");
        let typed: Api<Namespace> = Api::all(client);
        assert_eq!(Namespace::kind(&()), "Namespace");
        assert_eq!(typed.get("team").await?.name_any(), "team");
        Ok(())
    });
}
