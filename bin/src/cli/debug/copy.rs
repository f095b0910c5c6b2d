//! `debug --copy-to`: a copy of a pod, changed so that it can be looked into. It helps where the
//! pod's own containers end too soon for anything to be added to them.

use super::{DebugArgs, fill};
use crate::cli::failure::{Failure, Outcome, fail};
use serde_json::{Map, Value, json};

/// The copy, and the container that is to be looked into; none when only images change.
pub(super) struct Copy {
    pub pod: Value,
    pub container: Option<String>,
}

/// Probes would end what is looked at.
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// Refuses what makes no sense together.
pub(super) fn check(args: &DebugArgs) -> Outcome {
    if args.image.is_none() && args.set_image.is_empty() && args.command.is_empty() {
        fail!("you must specify --image, --set-image or command arguments");
    }
    if !args.command.is_empty() && args.container.is_none() && args.image.is_none() {
        fail!("you must specify an existing container or a new image when specifying args");
    }
    if args.target.is_some() {
        fail!("--target is incompatible with --copy-to. Use --share-processes instead");
    }
    Ok(())
}

/// Copies a pod under the name `to`; `new_name` is that of a container that is added without one.
pub(super) fn of(pod: &Value, args: &DebugArgs, to: &str, new_name: String) -> Outcome<Copy> {
    let mut spec = pod["spec"].as_object().cloned().unwrap_or_default();
    spec.remove("ephemeralContainers");
    if !args.same_node {
        spec.remove("nodeName");
    }
    if let Some(share) = args.share_processes {
        spec.insert("shareProcessNamespace".into(), share.into());
    }
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let container = container.as_object_mut();
            let fields = container.ok_or_else(|| Failure::new("a container is no object"))?;
            fields.retain(|name, _| !PROBES.contains(&name.as_str()));
        }
    }
    let empty = Value::Array(Vec::new());
    let containers = spec.entry("containers").or_insert(empty);
    let containers = containers.as_array_mut();
    let containers = containers.ok_or_else(|| Failure::new("the pod has no containers"))?;
    set_images(containers, &args.set_image)?;
    let container = changed(containers, args, new_name)?;
    let metadata = json!({"name": to, "namespace": pod["metadata"]["namespace"]});
    let copy = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    Ok(Copy {
        pod: copy,
        container,
    })
}

/// Gives containers other images: `NAME=IMAGE`, or `*=IMAGE` for all.
fn set_images(containers: &mut [Value], images: &[String]) -> Outcome {
    let mut wanted = Map::new();
    for pair in images {
        match pair.split_once('=') {
            Some((name, image)) if !name.is_empty() && !image.is_empty() => {
                wanted.insert(name.to_string(), image.into());
            }
            _ => fail!("{pair:?} is not NAME=IMAGE"),
        }
    }
    let names = containers.iter().filter_map(|c| c["name"].as_str());
    let names: Vec<String> = names.map(str::to_string).collect();
    let unknown = wanted.keys().find(|w| *w != "*" && !names.contains(w));
    if let Some(unknown) = unknown {
        fail!(
            "--set-image names {unknown}, but the pod has {}",
            names.join(", ")
        );
    }
    for (container, name) in containers.iter_mut().zip(&names) {
        if let Some(image) = wanted.get(name).or(wanted.get("*")) {
            container["image"] = image.clone();
        }
    }
    Ok(())
}

/// Changes the named container, or adds one.
fn changed(
    containers: &mut Vec<Value>,
    args: &DebugArgs,
    new_name: String,
) -> Outcome<Option<String>> {
    let named = args.container.as_deref();
    let known = containers.iter_mut().find(|c| c["name"].as_str() == named);
    if let (Some(container), Some(name)) = (known, named) {
        if !args.command.is_empty() && !args.arguments_only {
            container.as_object_mut().map(|c| c.remove("args"));
        }
        if let Some(fields) = container.as_object_mut() {
            fill(fields, args)?;
        }
        return Ok(Some(name.to_string()));
    }
    if args.image.is_none() {
        if named.is_none() && args.command.is_empty() {
            return Ok(None);
        }
        fail!("you must specify image when creating new container");
    }
    let mut fields = Map::new();
    fields.insert("name".into(), new_name.as_str().into());
    fields.insert(
        "terminationMessagePolicy".into(),
        "FallbackToLogsOnError".into(),
    );
    fill(&mut fields, args)?;
    containers.push(fields.into());
    Ok(Some(new_name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    fn pod() -> Value {
        json!({"metadata": {"name": "web-1", "namespace": "shop", "uid": "u",
                "labels": {"app": "web"}, "ownerReferences": [{"name": "web"}]},
            "spec": {"nodeName": "n1", "ephemeralContainers": [{"name": "e"}],
                "containers": [
                    {"name": "web", "image": "web:1", "command": ["serve"], "args": ["-v"],
                     "livenessProbe": {"tcpSocket": {"port": 1}}, "env": [{"name": "A", "value": "b"}]},
                    {"name": "log", "image": "log:1"}]},
            "status": {"phase": "Running"}})
    }

    fn copied(more: &[&str]) -> Copy {
        let line = [&["debug", "web-1", "--copy-to=web-debug"], more].concat();
        let args = parsed(&line);
        check(&args).expect("it makes sense");
        of(&pod(), &args, "web-debug", "debugger-x".to_string()).expect("a copy")
    }

    #[test]
    fn a_copy_belongs_to_nobody_and_its_container_does_something_else() {
        let copy = copied(&["-c", "web", "-it", "--", "sh"]);
        assert_eq!(copy.container.as_deref(), Some("web"));
        assert_eq!(
            copy.pod,
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "web-debug", "namespace": "shop"},
                "spec": {"containers": [
                    {"name": "web", "image": "web:1", "command": ["sh"], "stdin": true, "tty": true,
                     "env": [{"name": "A", "value": "b"}]},
                    {"name": "log", "image": "log:1"}]}})
        );
    }

    #[test]
    fn a_copy_may_have_other_images_or_one_more_container() {
        let copy = copied(&["--set-image=*=tools:1,log=log:2", "--same-node"]);
        assert_eq!(copy.container, None);
        let spec = &copy.pod["spec"];
        let images = [
            &spec["containers"][0]["image"],
            &spec["containers"][1]["image"],
        ];
        assert_eq!(images, ["tools:1", "log:2"]);
        assert_eq!(spec["nodeName"], "n1");
        let copy = copied(&["--image=tools", "--share-processes"]);
        assert_eq!(copy.container.as_deref(), Some("debugger-x"));
        assert_eq!(copy.pod["spec"]["containers"][2]["image"], "tools");
        assert_eq!(copy.pod["spec"]["shareProcessNamespace"], true);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |more: &[&str]| {
            let args = parsed(&[&["debug", "web-1", "--copy-to=c"], more].concat());
            let copy = check(&args).and_then(|()| of(&pod(), &args, "c", "d".to_string()));
            match copy {
                Err(Failure::Local(why)) => why,
                _ => panic!("{more:?} is not refused"),
            }
        };
        assert!(refused(&[]).contains("--image, --set-image or command"));
        assert!(refused(&["--", "sh"]).contains("an existing container or a new image"));
        assert!(refused(&["-c", "none", "--", "sh"]).contains("must specify image"));
        assert!(refused(&["--set-image=none=i"]).contains("the pod has web, log"));
        assert!(refused(&["--set-image=none"]).contains("is not NAME=IMAGE"));
        assert!(refused(&["--image=i", "--target=web"]).contains("--share-processes"));
    }
}
