//! The cases.

use super::{Ask, Case, How, Selected, Who};
use kabuki_model::request::PatchType;
use serde_json::{Value, json};

const USUAL: How = How {
    dry_run: false,
    lenient: false,
    manager: "",
};
const DRY: How = How {
    dry_run: true,
    ..USUAL
};
const LENIENT: How = How {
    lenient: true,
    ..USUAL
};
const ALL: Selected = Selected {
    labels: "",
    fields: "",
};

fn by(manager: &'static str) -> How {
    How { manager, ..USUAL }
}

fn labelled(labels: &'static str) -> Selected {
    Selected { labels, ..ALL }
}

fn selected(fields: &'static str) -> Selected {
    Selected { fields, ..ALL }
}

fn map(name: &str, colour: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"colour": colour}}, "data": {"colour": colour},
    })
}

fn create(name: &str, colour: &str) -> Ask {
    Ask::Create("configmaps", map(name, colour), USUAL)
}

fn pod() -> Value {
    // Nowhere to run: its status stays as it is.
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeSelector": {"none": "such"}, "containers": [{"name": "c", "image": "i"}]},
    })
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "replicas": 0, "paused": true,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "c", "image": "i:1"}]},
            },
        },
    })
}

fn objects() -> Vec<Ask> {
    vec![
        create("a", "red"),
        Ask::Get("configmaps", "a"),
        Ask::Replace("configmaps", "a", map("a", "blue"), USUAL),
        Ask::Delete("configmaps", "a", json!({})),
        Ask::Get("configmaps", "a"),
        Ask::Delete("configmaps", "a", json!({})),
        Ask::Replace("configmaps", "a", map("a", "blue"), USUAL),
        Ask::Patch("configmaps", "a", PatchType::Merge, json!({}), USUAL),
        Ask::Create("pods", pod(), USUAL),
        Ask::Delete("pods", "p", json!({"gracePeriodSeconds": 0})),
        Ask::Create("deployments.apps", deployment(), USUAL),
        Ask::GetPart("deployments.apps", "d", "scale"),
        Ask::GetPart("configmaps", "a", "status"),
    ]
}

fn patches() -> Vec<Ask> {
    let patch = |how, patch| Ask::Patch("configmaps", "a", how, patch, USUAL);
    let add = json!([{"op": "add", "path": "/data/size", "value": "1"}]);
    let test = json!([{"op": "test", "path": "/data/size", "value": "2"}]);
    vec![
        create("a", "red"),
        patch(PatchType::Json, add),
        patch(PatchType::Json, test),
        patch(
            PatchType::Json,
            json!([{"op": "remove", "path": "/data/none"}]),
        ),
        patch(
            PatchType::Merge,
            json!({"data": {"size": null, "shape": "round"}}),
        ),
        patch(
            PatchType::Strategic,
            json!({"metadata": {"labels": {"colour": null}}}),
        ),
        patch(PatchType::Merge, json!({"data": {"size": 3}})),
        patch(PatchType::Merge, json!({"dta": {}})),
        patch(PatchType::Strategic, json!({"dta": {"size": [1, null]}})),
        patch(
            PatchType::Json,
            json!([{"op": "add", "path": "/data/size", "value": "2", "vaule": "3"}]),
        ),
        Ask::Patch(
            "configmaps",
            "a",
            PatchType::Merge,
            json!({"dta": {}}),
            LENIENT,
        ),
        patch(PatchType::Merge, json!({"metadata": {"name": "b"}})),
        patch(PatchType::Json, json!({"no": "list"})),
        Ask::Create("deployments.apps", deployment(), USUAL),
        Ask::Patch(
            "deployments.apps",
            "d",
            PatchType::Strategic,
            json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}),
            USUAL,
        ),
    ]
}

fn applied() -> Vec<Ask> {
    let apply = |manager, colour, force| {
        let how = PatchType::Apply { force };
        Ask::Patch("configmaps", "a", how, map("a", colour), by(manager))
    };
    vec![
        apply("mine", "red", false),
        apply("mine", "red", false),
        apply("theirs", "blue", false),
        apply("theirs", "blue", true),
        apply("", "blue", false),
        Ask::Get("configmaps", "a"),
    ]
}

fn conflicts() -> Vec<Ask> {
    let mut stale = map("a", "blue");
    stale["metadata"]["resourceVersion"] = "1".into();
    let mut other = map("a", "blue");
    other["metadata"]["uid"] = "another".into();
    let uid = json!({"preconditions": {"uid": "another"}});
    vec![
        create("a", "red"),
        create("a", "blue"),
        Ask::Replace("configmaps", "a", stale, USUAL),
        Ask::Replace("configmaps", "a", other, USUAL),
        Ask::Replace("configmaps", "a", map("b", "blue"), USUAL),
        Ask::Delete("configmaps", "a", uid),
        Ask::Get("configmaps", "a"),
    ]
}

fn invalid() -> Vec<Ask> {
    let mut unknown = map("a", "red");
    unknown["dta"] = json!({"colour": "blue"});
    let mut selects_others = deployment();
    selects_others["spec"]["selector"]["matchLabels"]["app"] = "e".into();
    let mut broken = pod();
    broken["spec"]["containers"] = json!([{"name": "C_1", "ports": [{"containerPort": 70000}]}]);
    let mut typed = deployment();
    typed["spec"]["replicas"] = "two".into();
    vec![
        create("A_B", "red"),
        Ask::Create("configmaps", unknown.clone(), USUAL),
        Ask::Create("configmaps", unknown, LENIENT),
        Ask::Create("deployments.apps", selects_others, USUAL),
        Ask::Create("deployments.apps", typed, USUAL),
        Ask::Create("pods", broken, USUAL),
        Ask::Create("pods", map("m", "red"), USUAL),
        Ask::Create("configmaps", json!(["no object"]), USUAL),
        Ask::List("configmaps", labelled("a in"), 0),
        Ask::List("configmaps", selected("data.colour=red"), 0),
    ]
}

fn dry() -> Vec<Ask> {
    let patch = json!({"data": {"colour": "green"}});
    vec![
        Ask::Create("configmaps", map("a", "red"), DRY),
        Ask::Get("configmaps", "a"),
        create("a", "red"),
        Ask::Create("configmaps", map("a", "red"), DRY),
        Ask::Replace("configmaps", "a", map("a", "blue"), DRY),
        Ask::Patch("configmaps", "a", PatchType::Merge, patch, DRY),
        Ask::Delete("configmaps", "a", json!({"dryRun": ["All"]})),
        Ask::Get("configmaps", "a"),
    ]
}

fn lists() -> Vec<Ask> {
    vec![
        create("a", "red"),
        create("b", "blue"),
        create("c", "red"),
        Ask::List("configmaps", labelled("colour"), 0),
        Ask::List("configmaps", ALL, 2),
        Ask::List(
            "configmaps",
            labelled("colour in (red,green),colour!=green"),
            1,
        ),
        Ask::List("configmaps", labelled("!colour"), 0),
        Ask::List("configmaps", selected("metadata.name=b"), 0),
        Ask::Create("pods", pod(), USUAL),
        Ask::List("pods", selected("spec.nodeName=,status.phase=Pending"), 0),
        Ask::List("pods", selected("status.phase!=Pending"), 0),
        Ask::DeleteAll("configmaps", labelled("colour=red")),
        Ask::List("configmaps", labelled("colour"), 0),
    ]
}

fn tables() -> Vec<Ask> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"clusterIP": "None", "selector": {"app": "d"}, "ports": [{"port": 80}]},
    });
    vec![
        create("a", "red"),
        Ask::Create("pods", pod(), USUAL),
        Ask::Create("deployments.apps", deployment(), USUAL),
        Ask::Create("services", service, USUAL),
        Ask::Table("configmaps"),
        Ask::Table("pods"),
        Ask::Table("deployments.apps"),
        Ask::Table("replicasets.apps"),
        Ask::Table("services"),
        Ask::Table("serviceaccounts"),
    ]
}

fn watches() -> Vec<Ask> {
    vec![
        create("a", "red"),
        create("b", "blue"),
        Ask::Watch("configmaps", labelled("colour"), 2),
        Ask::Watch("configmaps", labelled("colour=blue"), 1),
        Ask::Watch("configmaps", labelled("colour in"), 1),
    ]
}

fn as_jane() -> Vec<Ask> {
    vec![
        Ask::List("configmaps", labelled("colour"), 0),
        Ask::Get("configmaps", "a"),
        create("a", "red"),
        Ask::Patch("configmaps", "a", PatchType::Merge, json!({}), USUAL),
        Ask::Replace("configmaps", "a", map("a", "red"), USUAL),
        Ask::Delete("configmaps", "a", json!({})),
        Ask::DeleteAll("configmaps", ALL),
        Ask::Get("secrets", "s"),
        Ask::List("secrets", ALL, 0),
        Ask::Watch("secrets", ALL, 1),
    ]
}

const fn case(name: &'static str, asks: fn() -> Vec<Ask>, says: &'static [&'static str]) -> Case {
    Case {
        name,
        who: Who::Administrator,
        asks,
        says,
    }
}

pub const CASES: &[Case] = &[
    case(
        "objects are created, read, replaced and deleted",
        objects,
        &["configmaps \\\"a\\\" not found", "autoscaling/v1"],
    ),
    case(
        "objects are patched",
        patches,
        &[
            "round",
            "i:2",
            " \\\"\\\" is invalid: patch: Invalid value: \\\"map[dta:map[size:[1 <nil>]]]\\\": strict \
             decoding error: unknown field \\\"dta\\\"",
            "json patch unknown field \\\"[0].vaule\\\"",
        ],
    ),
    case(
        "objects are applied",
        applied,
        &["conflict with \\\"mine\\\"", "\"Apply\""],
    ),
    case(
        "who is late is told so",
        conflicts,
        &["already exists", "the object has been modified"],
    ),
    case(
        "what is wrong is refused",
        invalid,
        &["\"Invalid\"", "FieldValueInvalid"],
    ),
    case("dry runs change nothing", dry, &["green"]),
    case("lists are selected and paged", lists, &["\"remaining\":"]),
    case("tables are the same", tables, &["Pending", "CLUSTER-IP"]),
    case("watches begin with what there is", watches, &["ADDED"]),
    Case {
        who: Who::Jane,
        ..case(
            "who may not is refused",
            as_jane,
            &["User \\\"jane\\\" cannot create resource \\\"configmaps\\\""],
        )
    },
];
