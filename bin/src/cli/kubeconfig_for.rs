//! `kubeconfig`: a kubeconfig for another user, with a client certificate that the cluster's CA
//! signs. It takes the CA's key, which only administrators may read.

use super::failure::{Failure, Outcome, fail};
use super::session::Session;
use super::waiting::duration;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kabuki_model::identity::GROUP_MASTERS;
use kabuki_model::manifest::to_yaml;
use kabuki_plane::admitting::charter::{self, authority_of};
use serde_json::json;
use std::time::Duration;

/// Longer names do not fit a certificate (X.520, `ub-common-name`).
const MAX_NAME_BYTES: usize = 64;
/// Certificates of people need not outlive the cluster's CA, which lives ten years.
const MAX_LIFETIME: Duration = Duration::from_secs(5 * 365 * 86_400);

/// Arguments of `kubeconfig`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The certificate cannot be taken back before it ends: keep its time short, \
    and give it to nobody but the user. Users may read everything but secrets; members of the \
    group system:masters may do everything.\n\n\
    Examples:\n  \
    # For a colleague, for a year\n  \
    kabuki kubeconfig jane > jane.kubeconfig\n\n  \
    # For another administrator, for a day\n  \
    kabuki kubeconfig ann --group system:masters --ttl 24h > ann.kubeconfig"
)]
pub struct KubeconfigArgs {
    /// The user's name
    #[arg(value_name = "USER")]
    user: String,
    /// A group of the user; at most two
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// How long the certificate is good (`24h`, `90d`)
    #[arg(long, default_value = "365d", value_name = "DURATION")]
    ttl: String,
}

/// Runs `kubeconfig`.
pub async fn run(session: &Session, args: KubeconfigArgs) -> Outcome {
    check(&args)?;
    let ttl = duration("--ttl", &args.ttl)?;
    if ttl.is_zero() || ttl > MAX_LIFETIME {
        fail!("--ttl must be more than nothing and at most five years (1825d)");
    }
    let server = server(session)?;
    let Some(secret) = session.find(&charter::ca_key()).await? else {
        fail!("this cluster has no CA in its state yet: wait until its first server is ready");
    };
    let local = |e: &dyn std::fmt::Display| Failure::new(e.to_string());
    let (authority, bundle) = authority_of(&secret).map_err(|e| local(&e))?;
    let groups: Vec<&str> = args.group.iter().map(String::as_str).collect();
    let issued = authority.client_for(&args.user, &groups, ttl);
    let issued = issued.map_err(|e| local(&e))?;
    let signer = authority.certificate_pem();
    let trusted = format!("{signer}{}", bundle.replace(signer, ""));
    let user = &args.user;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kabuki",
        "clusters": [{"name": "kabuki", "cluster": {
            "certificate-authority-data": STANDARD.encode(trusted), "server": server,
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": STANDARD.encode(&issued.certificate_pem),
            "client-key-data": STANDARD.encode(&issued.key_pem),
        }}],
        "contexts": [{"name": "kabuki", "context": {"cluster": "kabuki", "user": user}}],
    });
    session.out.text(&to_yaml(&config))
}

/// Names that mean something to the cluster itself are nobody's to have.
fn check(args: &KubeconfigArgs) -> Outcome {
    for (what, name) in
        std::iter::once(("user", &args.user)).chain(args.group.iter().map(|g| ("group", g)))
    {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            fail!(
                "the {what} {name:?} must have 1 to {MAX_NAME_BYTES} bytes, and only printable ones"
            );
        }
        if name.starts_with("system:") && !(what == "group" && name == GROUP_MASTERS) {
            fail!(
                "the {what} {name:?} is the cluster's own: names that begin with \"system:\" are \
                 given to nobody, but for the group {GROUP_MASTERS:?} of administrators"
            );
        }
    }
    Ok(())
}

/// The server that the file names: that of --server, else that of one's own kubeconfig.
fn server(session: &Session) -> Outcome<String> {
    if let Some(server) = &session.globals.server {
        return Ok(server.clone());
    }
    let context = session.globals.context.as_deref();
    Ok(session.kubeconfig()?.target(context)?.server)
}

#[cfg(test)]
mod tests {
    use crate::cli::fake::session;
    use crate::cli::tests::{refused, said};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use kabuki_cluster::Authority;
    use kabuki_cluster::certificate::{identity_of, only_of_pem, validity};
    use serde_json::{Value, json};

    fn ca() -> Value {
        let authority = Authority::generate().expect("a CA");
        let (certificate, key) = (authority.certificate_pem(), authority.key_pem());
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kabuki.dev/ca",
            "metadata": {"name": "kabuki-ca", "namespace": "kube-system"},
            "data": {
                "ca.crt": STANDARD.encode(certificate), "ca.key": STANDARD.encode(key),
                "bundle.crt": STANDARD.encode(certificate),
            },
        })
    }

    fn certificate(text: &str) -> String {
        let line = text
            .lines()
            .find_map(|l| l.trim().strip_prefix("client-certificate-data: "));
        let pem = STANDARD
            .decode(line.expect("a certificate"))
            .expect("base64");
        String::from_utf8(pem).expect("PEM")
    }

    #[tokio::test]
    async fn a_user_gets_a_certificate_that_says_who_it_is() {
        let (mut session, _) = session(&[ca()]);
        session.globals.server = Some("https://192.0.2.1:6443".into());
        let line = ["kubeconfig", "jane", "--group", "dev", "--ttl", "2h"];
        let text = said(&session, &line).await;
        assert!(text.contains("server: https://192.0.2.1:6443"), "{text}");
        assert!(
            !text.contains("RSA") && text.contains("client-key-data: "),
            "{text}"
        );
        let certificate = only_of_pem(&certificate(&text)).expect("one");
        let who = identity_of(&certificate).expect("somebody");
        assert_eq!(
            (who.user.as_str(), who.groups),
            ("jane", vec!["dev".to_string()])
        );
        let (_, ends) = validity(&certificate).expect("dates");
        let left = ends.as_second() - jiff::Timestamp::now().as_second();
        assert!((7100..=7200).contains(&left), "{left}");
    }

    #[tokio::test]
    async fn names_of_the_cluster_itself_are_given_to_nobody() {
        let (mut session, _) = session(&[ca()]);
        session.globals.server = Some("https://192.0.2.1:6443".into());
        for line in [
            &["kubeconfig", "system:node:a"][..],
            &["kubeconfig", "system:controller:x"],
            &["kubeconfig", "jane", "--group", "system:nodes"],
            &["kubeconfig", "jane", "--group", "system:servers"],
        ] {
            let why = refused(&session, line).await;
            assert!(why.contains("the cluster's own"), "{why}");
        }
        let why = refused(&session, &["kubeconfig", ""]).await;
        assert!(why.contains("must have 1 to 64 bytes"), "{why}");
        let why = refused(&session, &["kubeconfig", "jane", "--ttl", "0s"]).await;
        assert!(why.contains("--ttl"), "{why}");
        let line = ["kubeconfig", "ann", "--group", "system:masters"];
        assert!(said(&session, &line).await.contains("client-key-data"));
    }
}
