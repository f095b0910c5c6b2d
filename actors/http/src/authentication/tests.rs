use super::*;
use crate::fake::{TOKEN, front};
use http::{HeaderName, HeaderValue};
use kabuki_model::identity::GROUP_MASTERS;
use kabuki_model::status::Reason;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let value = HeaderValue::from_str(value).expect("a value");
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

fn ann() -> Identity {
    Identity::new("ann", [GROUP_MASTERS.to_string()])
}

async fn named(
    certificate: Option<&Identity>,
    path: &str,
    pairs: &[(&'static str, &str)],
) -> Result<Authenticated, Reason> {
    let (front, _) = front();
    let named = authenticate(&*front, certificate, path, &headers(pairs)).await;
    named.map_err(|e| e.reason)
}

#[tokio::test]
async fn a_certificate_or_a_token_says_who_it_is() {
    let who = named(Some(&ann()), "/api", &[]).await.expect("named");
    assert_eq!(who.who, ann());
    let bearer = format!("Bearer {TOKEN}");
    let who = named(None, "/api", &[("authorization", &bearer)]).await;
    assert_eq!(
        who.expect("named").who.user,
        "system:serviceaccount:default:robot"
    );
}

#[tokio::test]
async fn whoever_shows_nothing_sees_health_and_version_alone() {
    let who = named(None, "/livez", &[]).await.expect("named");
    assert_eq!(who.who, Identity::anonymous());
    for path in ["/api", "/apis/apps/v1", "/metrics", "/api/v1/pods", "/"] {
        assert_eq!(
            named(None, path, &[]).await,
            Err(Reason::Unauthorized),
            "{path}"
        );
    }
    let as_ann = [("impersonate-user", "ann")];
    assert_eq!(
        named(None, "/livez", &as_ann).await,
        Err(Reason::Unauthorized)
    );
}

#[tokio::test]
async fn credentials_that_are_not_good_are_refused_even_where_none_are_needed() {
    for value in ["Bearer bad", "Basic YTpi", "bad"] {
        let shown = [("authorization", value)];
        assert_eq!(
            named(None, "/livez", &shown).await,
            Err(Reason::Unauthorized),
            "{value}"
        );
    }
}

#[tokio::test]
async fn an_administrator_may_act_as_another() {
    let wanted = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "dev"),
        ("impersonate-group", "system:authenticated"),
        ("impersonate-uid", "7"),
        ("impersonate-extra-example.com%2fscope", "read"),
    ];
    let (front, _) = front();
    let who = authenticate(&*front, Some(&ann()), "/api", &headers(&wanted)).await;
    let who = who.expect("named");
    assert_eq!(who.who, Identity::new("jane", ["dev".to_string()]));
    assert_eq!(who.uid, "7");
    assert_eq!(who.extra["example.com/scope"], ["read"]);
    let asked = front.asked.lock().expect("not poisoned");
    let asked: Vec<String> = asked
        .iter()
        .map(|a| format!("{} {} {} {}", a.verb, a.resource, a.subresource, a.name))
        .collect();
    assert_eq!(
        asked,
        [
            "impersonate users  jane",
            "impersonate groups  dev",
            "impersonate groups  system:authenticated",
            "impersonate uids  7",
            "impersonate userextras example.com/scope read",
        ]
    );
}

#[tokio::test]
async fn a_service_account_is_in_its_groups_without_being_told() {
    let robot = [("impersonate-user", "system:serviceaccount:web:robot")];
    let who = named(Some(&ann()), "/api", &robot).await.expect("named");
    assert_eq!(who.who, Identity::service_account("web", "robot"));
    let nobody = [("impersonate-user", "system:anonymous")];
    let who = named(Some(&ann()), "/api", &nobody).await.expect("named");
    assert!(who.who.is_anonymous());
}

#[tokio::test]
async fn nobody_else_may_act_as_another_and_what_is_not_clear_is_refused() {
    let jane = Identity::new("jane", []);
    let wanted = [
        ("impersonate-user", "ann"),
        ("impersonate-group", GROUP_MASTERS),
    ];
    assert_eq!(
        named(Some(&jane), "/api", &wanted).await,
        Err(Reason::Forbidden)
    );
    for wanted in [
        &[("impersonate-group", "dev")][..],
        &[("impersonate-user", "a"), ("impersonate-user", "b")],
        &[("impersonate-user", "a"), ("impersonate-other", "b")],
    ] {
        assert_eq!(
            named(Some(&ann()), "/api", wanted).await,
            Err(Reason::BadRequest)
        );
    }
}
