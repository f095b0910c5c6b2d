//! Huge pages (Kubernetes, "Manage HugePages"): resources called `hugepages-2Mi`, in whole pages,
//! never more than was asked for; and volumes of such pages.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kabuki_model::kind::pod::{limit, together};
use kabuki_model::quantity::Quantity;
use std::collections::BTreeSet;

const PREFIX: &str = "hugepages-";

/// The size of a page in bytes, by the name of the resource.
pub fn page_bytes(resource: &str) -> Option<i64> {
    size(resource.strip_prefix(PREFIX)?)
}

fn size(text: &str) -> Option<i64> {
    let bytes = text.parse::<Quantity>().ok()?.value_ceil();
    (bytes > 0).then_some(bytes)
}

/// The name of the resource for pages of a size.
pub fn resource(page_bytes: i64) -> String {
    format!("{PREFIX}{}", Quantity::from_bytes(page_bytes))
}

/// How the kernel writes a size in the names of its files: `2MB`, `1GB`, `64KB`.
pub fn kernel_name(page_bytes: i64) -> String {
    let units = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let fits = units.iter().find(|(unit, _)| page_bytes % unit == 0);
    match fits {
        Some((unit, name)) => format!("{}{name}", page_bytes / unit),
        None => format!("{page_bytes}B"),
    }
}

/// What a container may have of each of the resources that the node has: nothing of what it did
/// not ask for.
pub fn container_limits<'a>(
    container: &Container,
    resources: impl IntoIterator<Item = &'a String>,
) -> Vec<(String, i64)> {
    named(resources, |name| limit(container, name))
}

/// The same of the whole pod.
pub fn pod_limits<'a>(
    spec: &PodSpec,
    resources: impl IntoIterator<Item = &'a String>,
) -> Vec<(String, i64)> {
    named(resources, |name| {
        together(spec, |c| Some(limit(c, name))).unwrap_or_default()
    })
}

fn named<'a>(
    resources: impl IntoIterator<Item = &'a String>,
    of: impl Fn(&str) -> Quantity,
) -> Vec<(String, i64)> {
    let known = resources
        .into_iter()
        .filter_map(|name| Some((name, page_bytes(name)?)));
    known
        .map(|(name, page)| (kernel_name(page), of(name).value_ceil()))
        .collect()
}

/// The size of the pages of a volume of this medium in bytes; `None` when it is of something else.
///
/// # Errors
/// When the pod's containers did not ask for pages from which it could be made.
pub fn volume_page(medium: &str, spec: &PodSpec) -> Result<Option<i64>, String> {
    let init = spec.init_containers.iter().flatten();
    let containers = spec.containers.iter().chain(init);
    let limits = containers.filter_map(|c| c.resources.as_ref()?.limits.as_ref());
    let asked: BTreeSet<i64> = limits
        .flatten()
        .filter(|(_, q)| Quantity::try_from(*q).is_ok_and(|q| !q.is_zero()))
        .filter_map(|(name, _)| page_bytes(name))
        .collect();
    if medium == "HugePages" {
        let mut pages = asked.into_iter();
        return match (pages.next(), pages.next()) {
            (Some(only), None) => Ok(Some(only)),
            (None, _) => Err(
                "pages cannot be found: no container of the pod asks for huge pages".to_string(),
            ),
            (Some(_), Some(_)) => Err(
                "medium HugePages needs a single page size: use HugePages-2Mi or the like"
                    .to_string(),
            ),
        };
    }
    let Some(page) = medium.strip_prefix("HugePages-") else {
        return Ok(None);
    };
    match size(page).filter(|page| asked.contains(page)) {
        Some(page) => Ok(Some(page)),
        None => Err(format!(
            "medium {medium:?}: no container of the pod asks for {PREFIX}{page}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(limits: &[Value]) -> PodSpec {
        let containers: Vec<Value> = limits
            .iter()
            .map(|limits| json!({"name": "a", "resources": {"limits": limits}}))
            .collect();
        serde_json::from_value(json!({"containers": containers})).expect("a spec")
    }

    #[test]
    fn sizes_have_a_name_here_and_one_in_the_kernel() {
        assert_eq!(page_bytes("hugepages-2Mi"), Some(2 << 20));
        assert_eq!(page_bytes("hugepages-x"), None);
        assert_eq!(page_bytes("memory"), None);
        assert_eq!(resource(1 << 30), "hugepages-1Gi");
        let names = [2 << 20, 1 << 30, 64 << 10].map(kernel_name);
        assert_eq!(names, ["2MB", "1GB", "64KB"]);
    }

    #[test]
    fn nobody_has_pages_that_it_did_not_ask_for() {
        let spec = spec(&[
            json!({"hugepages-2Mi": "4Mi"}),
            json!({"hugepages-2Mi": "2Mi"}),
        ]);
        let node = ["hugepages-1Gi".to_string(), "hugepages-2Mi".to_string()];
        let of = |list: Vec<(String, i64)>| list.into_iter().map(|(_, n)| n).collect::<Vec<_>>();
        assert_eq!(
            of(container_limits(&spec.containers[0], &node)),
            [0, 4 << 20]
        );
        let whole = pod_limits(&spec, &node);
        assert_eq!(whole[1], ("2MB".to_string(), 6 << 20));
        assert_eq!(whole[0], ("1GB".to_string(), 0));
    }

    #[test]
    fn a_volume_of_huge_pages_needs_a_pod_that_asks_for_them() {
        let two = spec(&[json!({"hugepages-2Mi": "4Mi"})]);
        let both = spec(&[json!({"hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi"})]);
        let none = spec(&[json!({"memory": "1Gi"})]);
        assert_eq!(volume_page("HugePages", &two), Ok(Some(2 << 20)));
        assert_eq!(volume_page("HugePages-1Gi", &both), Ok(Some(1 << 30)));
        assert_eq!(volume_page("Memory", &none), Ok(None));
        assert!(volume_page("HugePages", &both).is_err());
        assert!(volume_page("HugePages", &none).is_err());
        assert!(volume_page("HugePages-1Gi", &two).is_err());
    }
}
