use super::*;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Content, Request};
use kabuki_model::review::ReviewKind;
use kabuki_model::view::MapView;
use kabuki_model::{ObjectKey, Resource, Stored};

const START: i64 = 1_700_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).expect("a time")
}

fn put(view: &mut MapView, resource: Resource, uid: &str, value: &Value) {
    let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default();
    let key = ObjectKey::new(resource.clone(), text("namespace"), text("name"));
    let kind = kabuki_model::kind::of(&resource).expect("a kind");
    let mut value = value.as_object().cloned().expect("an object");
    value["metadata"]["uid"] = uid.into();
    let json = kabuki_model::object::canonical_json(&kind.api_version(), kind.names.kind, value);
    view.put(&Stored::new(key, uid.into(), 0, json));
}

fn pod(account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [], "nodeName": "n1", "serviceAccountName": account},
    })
}

/// An account, a pod of it on a node, a Secret, and the keys.
fn world() -> MapView {
    let mut view = MapView::default();
    put(
        &mut view,
        Resource::SECRETS,
        "k",
        &new_secret().expect("a key"),
    );
    put(&mut view, Resource::PODS, "p1", &pod("builder"));
    let meta = |name: &str| json!({"metadata": {"name": name, "namespace": "default"}});
    put(
        &mut view,
        Resource::SERVICE_ACCOUNTS,
        "s1",
        &meta("builder"),
    );
    put(&mut view, Resource::SECRETS, "x1", &meta("held"));
    put(
        &mut view,
        Resource::NODES,
        "n-uid",
        &json!({"metadata": {"name": "n1"}}),
    );
    view
}

fn account() -> ObjectKey {
    ObjectKey::new(Resource::SERVICE_ACCOUNTS, "default", "builder")
}

fn document(answer: Answer) -> Value {
    match answer.content {
        Content::Document(json) => serde_json::from_slice(&json).expect("JSON"),
        other => panic!("no document: {other:?}"),
    }
}

fn request(tokens: &Tokens, view: &MapView, spec: Value) -> Result<Value, String> {
    let request = Request::TokenRequest {
        account: account(),
        object: json!({"spec": spec}).to_string().into(),
        dry_run: false,
    };
    let answer = tokens.answer(view, &Identity::bootstrap(), &request, at(0), 7);
    answer.map(document).map_err(|e| e.message)
}

fn token(tokens: &Tokens, view: &MapView, spec: Value) -> String {
    let answer = request(tokens, view, spec).expect("a token");
    let token = answer["status"]["token"].as_str().expect("a token");
    token.to_string()
}

fn bearer(tokens: &Tokens, view: &MapView, token: &str, s: i64) -> Result<String, String> {
    let found = tokens.authenticate(view, token, &[], at(s));
    let found = found.expect("there are keys");
    found.map(|f| f.who.user).map_err(|e| e.to_string())
}

fn bound(kind: &str, name: &str) -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}})
}

#[test]
fn a_token_names_its_account_until_it_ends() {
    let (tokens, view) = (Tokens::default(), world());
    let answer = request(&tokens, &view, json!({"expirationSeconds": 600})).expect("a token");
    assert_eq!(answer["spec"]["audiences"], json!([AUDIENCE]));
    assert_eq!(answer["status"]["expirationTimestamp"], at(600).to_string());
    assert_eq!(answer["metadata"]["name"], "builder");
    let token = answer["status"]["token"].as_str().expect("a token");
    let user = Ok("system:serviceaccount:default:builder".to_string());
    assert_eq!(bearer(&tokens, &view, token, 599), user);
    let why = bearer(&tokens, &view, token, 661).expect_err("it is over");
    assert_eq!(why, "service account token has expired");
    let why = bearer(&tokens, &view, token, -61).expect_err("its time has not come");
    assert_eq!(why, "service account token is not valid yet");
}

#[test]
fn a_token_ends_with_its_account_and_all_that_it_is_bound_to() {
    let tokens = Tokens::default();
    let cases = [
        (
            json!({}),
            Resource::SERVICE_ACCOUNTS,
            "builder",
            "service account",
        ),
        (bound("Pod", "web"), Resource::PODS, "web", "pod"),
        (bound("Secret", "held"), Resource::SECRETS, "held", "secret"),
        (bound("Node", "n1"), Resource::NODES, "n1", "node"),
    ];
    for (spec, resource, name, what) in cases {
        let mut view = world();
        let token = token(&tokens, &view, spec);
        assert!(bearer(&tokens, &view, &token, 1).is_ok(), "{what}");
        let namespace = if what == "node" { "" } else { "default" };
        let key = ObjectKey::new(resource.clone(), namespace, name);
        view.remove(&key).expect("was there");
        let why = bearer(&tokens, &view, &token, 1).expect_err("it is gone");
        assert!(why.ends_with(&format!("its {what} is gone")), "{why}");
        // A successor of the same name is another.
        let mut meta = json!({"metadata": {"name": name}});
        if what != "node" {
            meta["metadata"]["namespace"] = namespace.into();
        }
        put(&mut view, resource, "successor", &meta);
        assert!(bearer(&tokens, &view, &token, 1).is_err(), "{what}");
    }
}

#[test]
fn a_pod_that_should_have_left_bears_its_token_no_longer() {
    let (tokens, mut view) = (Tokens::default(), world());
    let token = token(&tokens, &view, bound("Pod", "web"));
    let mut leaving = pod("builder");
    leaving["metadata"]["deletionTimestamp"] = at(10).to_string().into();
    put(&mut view, Resource::PODS, "p1", &leaving);
    assert!(bearer(&tokens, &view, &token, 69).is_ok());
    assert!(bearer(&tokens, &view, &token, 71).is_err());
}

#[test]
fn a_token_tells_of_its_pod_and_node() {
    let (tokens, view) = (Tokens::default(), world());
    let token = token(&tokens, &view, bound("Pod", "web"));
    let found = tokens.authenticate(&view, &token, &[], at(1));
    let found = found.expect("keys").expect("believed");
    assert_eq!(found.uid, "s1");
    let told: Vec<String> = found
        .extra
        .iter()
        .map(|(k, v)| format!("{k}={v:?}"))
        .collect();
    assert_eq!(
        told,
        [
            r#"authentication.kubernetes.io/credential-id=["JTI=00000000-0000-4000-8000-000000000007"]"#,
            r#"authentication.kubernetes.io/node-name=["n1"]"#,
            r#"authentication.kubernetes.io/node-uid=["n-uid"]"#,
            r#"authentication.kubernetes.io/pod-name=["web"]"#,
            r#"authentication.kubernetes.io/pod-uid=["p1"]"#,
        ]
    );
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let (tokens, mut view) = (Tokens::default(), world());
    let refused = |spec: Value| request(&tokens, &view, spec).expect_err("refused");
    let why = refused(json!({"expirationSeconds": 599}));
    assert_eq!(
        why,
        "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid \
         value: 599: may not specify a duration less than 10 minutes"
    );
    assert!(refused(bound("Pod", "gone")).contains("not found"));
    assert!(refused(bound("Deployment", "web")).contains("cannot bind token to object of type"));
    let other = json!({"boundObjectRef": {"kind": "Pod", "name": "web", "uid": "p0"}});
    assert!(refused(other).contains("does not match the UID in record"));
    assert!(refused(json!({"attestations": {"a": ["b"]}})).contains("not supported"));
    put(&mut view, Resource::PODS, "p1", &pod("default"));
    let why = request(&tokens, &view, bound("Pod", "web")).expect_err("refused");
    assert!(
        why.contains("running with different serviceaccount"),
        "{why}"
    );
}

#[test]
fn what_every_pod_is_given_outlives_the_time_that_is_told() {
    let (tokens, view) = (Tokens::default(), world());
    let request = Request::Token {
        account: account(),
        audiences: Vec::new(),
        expiration_s: 3607,
        bound_pod: Some(("web".to_string(), "p1".to_string())),
    };
    let answer = tokens.answer(&view, &Identity::node("n1"), &request, at(0), 7);
    let Ok(Content::Token { token, expires_s }) = answer.map(|a| a.content) else {
        panic!("no token");
    };
    assert_eq!(expires_s, START + 3607);
    assert!(bearer(&tokens, &view, &token, 86_400).is_ok());
    let claims = Unverified::parse(&token).expect("a token").claims;
    assert_eq!(claims.kubernetes.warnafter, Some(expires_s));
    assert_eq!(claims.exp, START + 365 * 86_400);
}

#[test]
fn a_token_of_others_or_one_that_was_changed_is_nobodys() {
    let (tokens, view) = (Tokens::default(), world());
    let theirs = token(&Tokens::default(), &world(), json!({}));
    let why = bearer(&tokens, &view, &theirs, 1).expect_err("of another cluster");
    assert_eq!(why, "the token was not signed by this cluster");
    let own = token(&tokens, &view, json!({}));
    let (head, signature) = own.rsplit_once('.').expect("three parts");
    let mut claims = Unverified::parse(&own).expect("a token").claims;
    claims.sub = "system:serviceaccount:kube-system:king".to_string();
    let key = Unverified::parse(&own).expect("a token").key_id;
    for forged in [
        format!("{}.{signature}", claims.to_sign(&key)),
        format!("{head}."),
        head.to_string(),
        String::new(),
    ] {
        let why = bearer(&tokens, &view, &forged, 1).expect_err("forged");
        assert!(!why.contains(signature), "{why}");
    }
}

#[test]
fn a_token_is_good_for_its_audiences_alone() {
    let (tokens, view) = (Tokens::default(), world());
    let token = token(&tokens, &view, json!({"audiences": ["vault", "other"]}));
    let why = bearer(&tokens, &view, &token, 1).expect_err("not for the API");
    assert!(why.contains("is invalid for the target audiences"), "{why}");
    let review = |audiences: Value| {
        let request = Request::Review {
            kind: ReviewKind::Token,
            namespace: "".into(),
            object: json!({"spec": {"token": token, "audiences": audiences}})
                .to_string()
                .into(),
        };
        document(
            tokens
                .answer(&view, &Identity::bootstrap(), &request, at(1), 1)
                .expect("reviewed"),
        )
    };
    let good = review(json!(["vault", "elsewhere"]));
    assert_eq!(good["status"]["authenticated"], true);
    assert_eq!(good["status"]["audiences"], json!(["vault"]));
    assert_eq!(
        good["status"]["user"]["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
    let bad = review(json!(["elsewhere"]));
    assert_ne!(bad["status"]["authenticated"], true);
    assert!(bad["status"]["error"].is_string());
}

#[test]
fn a_key_is_replaced_without_refusing_what_it_signed() {
    let (tokens, mut view) = (Tokens::default(), world());
    let before = token(&tokens, &view, json!({}));
    let rotate = |view: &mut MapView, forget: bool| {
        let secret = view.get(&keys_key()).expect("there are keys").clone();
        let Ok(Request::Patch { patch, .. }) = rotation(&secret, forget) else {
            panic!("no rotation");
        };
        let mut patch: Value = serde_json::from_slice(&patch).expect("JSON");
        patch["metadata"] = json!({});
        let old = secret.to_value().expect("JSON");
        let new = kabuki_model::patch::apply(kabuki_model::request::PatchType::Merge, &old, &patch);
        put(view, Resource::SECRETS, "k", &new.expect("applies"));
    };
    rotate(&mut view, false);
    assert!(bearer(&tokens, &view, &before, 1).is_ok());
    let after = token(&tokens, &view, json!({}));
    let key = |token: &str| Unverified::parse(token).expect("a token").key_id;
    assert_ne!(key(&before), key(&after));
    let (_, keys) = tokens.openid(&view).expect("keys");
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2));
    rotate(&mut view, true);
    assert!(bearer(&tokens, &view, &before, 1).is_err());
    assert!(bearer(&tokens, &view, &after, 1).is_ok());
}

#[test]
fn the_public_keys_hold_no_private_one() {
    let (document, keys) = Tokens::default().openid(&world()).expect("keys");
    assert_eq!(document["issuer"], ISSUER);
    let key = &keys["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"]),
        (&json!("EC"), &json!("P-256"), &json!("ES256"))
    );
    assert_eq!(key["x"].as_str().map(str::len), Some(43));
    assert!(key["d"].is_null());
}
