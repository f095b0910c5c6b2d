//! What a node is told to say of itself and to keep for itself: labels, taints, reserved
//! resources. Flags win over the file, entry by entry.

use anyhow::bail;
use kabuki_agent::Reserved;
use kabuki_model::Quantity;
use kabuki_model::k8s_openapi::api::core::v1::Taint;
use kabuki_model::kind::may_label_itself;
use kabuki_model::syntax;
use kabuki_model::taint;
use std::collections::BTreeMap;

/// Labels by which a node says what machine it is; nobody else can know better.
const BY_ITSELF: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

#[derive(Debug, Clone, Default, clap::Args)]
pub struct OwnArgs {
    /// A label of this node; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// A taint that this node has when it joins; may be given several times. Later only `kabuki
    /// taint` changes it
    #[arg(long = "taint", value_name = "KEY=VALUE:EFFECT", value_delimiter = ',')]
    pub taints: Vec<String>,
    /// What is kept from pods for the system: cpu=500m,memory=1Gi,ephemeral-storage=10Gi
    #[arg(long, value_name = "RESOURCE=AMOUNT,..", value_delimiter = ',')]
    pub system_reserved: Vec<String>,
    /// What is kept from pods for this program, in the same form
    #[arg(long, value_name = "RESOURCE=AMOUNT,..", value_delimiter = ',')]
    pub kube_reserved: Vec<String>,
}

/// The same as a file has it.
#[derive(Debug, Default)]
pub(super) struct OwnFile {
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<String>,
    pub system_reserved: BTreeMap<String, String>,
    pub kube_reserved: BTreeMap<String, String>,
}

/// What a node says of itself and keeps for itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Own {
    /// Its labels, beside those that say what machine it is.
    pub labels: BTreeMap<String, String>,
    /// Its taints when it joins.
    pub taints: Vec<Taint>,
    /// What it keeps from pods.
    pub reserved: Vec<Reserved>,
}

impl Own {
    /// Settles flags and file.
    pub(super) fn settle(args: &OwnArgs, file: OwnFile) -> anyhow::Result<Self> {
        let mut labels = file.labels;
        for text in &args.labels {
            let Some((key, value)) = text.split_once('=') else {
                bail!("--label {text:?} is not KEY=VALUE");
            };
            labels.insert(key.to_string(), value.to_string());
        }
        for (key, value) in &labels {
            check_label(key, value)?;
        }
        Ok(Self {
            labels,
            taints: taints(&file.taints, &args.taints)?,
            reserved: vec![
                reserved(
                    "--system-reserved",
                    file.system_reserved,
                    &args.system_reserved,
                )?,
                reserved("--kube-reserved", file.kube_reserved, &args.kube_reserved)?,
            ],
        })
    }
}

fn check_label(key: &str, value: &str) -> anyhow::Result<()> {
    let wrong = syntax::qualified_name(key).or_else(|| syntax::label_value(value));
    if let Some(why) = wrong {
        bail!("--label \"{key}={value}\": {why}");
    }
    if BY_ITSELF.contains(&key) {
        bail!("--label \"{key}={value}\": a node sets {key} by itself");
    }
    if !may_label_itself(key) {
        bail!(
            "--label \"{key}={value}\": a node may not give itself this label, because others \
             decide by it what runs there; use `kabuki label node` as an administrator"
        );
    }
    Ok(())
}

fn taints(file: &[String], flags: &[String]) -> anyhow::Result<Vec<Taint>> {
    let read = |texts: &[String]| -> anyhow::Result<Vec<Taint>> {
        let mut taints: Vec<Taint> = Vec::new();
        for text in texts {
            let taint = match taint::parse(text) {
                Ok(taint) if taint.effect.is_empty() => bail!(
                    "--taint {text:?} has no effect: write KEY=VALUE:EFFECT or KEY:EFFECT with \
                     one of {}",
                    taint::EFFECTS.join(", ")
                ),
                Ok(taint) => taint,
                Err(error) => bail!("--taint {text:?}: {error}"),
            };
            if taints.iter().any(|t| taint::is_same(t, &taint)) {
                bail!("--taint {text:?}: there is another one with this key and effect");
            }
            taints.push(taint);
        }
        Ok(taints)
    };
    let mut taints = read(flags)?;
    for taint in read(file)? {
        if !taints.iter().any(|t| taint::is_same(t, &taint)) {
            taints.push(taint);
        }
    }
    Ok(taints)
}

fn reserved(
    flag: &str,
    file: BTreeMap<String, String>,
    flags: &[String],
) -> anyhow::Result<Reserved> {
    let mut amounts = file;
    for text in flags {
        let Some((name, amount)) = text.split_once('=') else {
            bail!("{flag} {text:?} is not RESOURCE=AMOUNT");
        };
        amounts.insert(name.to_string(), amount.to_string());
    }
    let mut reserved = Reserved::default();
    for (name, text) in &amounts {
        let amount = match text.parse::<Quantity>() {
            Ok(amount) if amount.is_negative() => bail!("{flag} {name}={text} is negative"),
            Ok(amount) => amount,
            Err(error) => bail!("{flag} {name}={text}: {error}"),
        };
        match name.as_str() {
            "cpu" => reserved.cpu_milli = amount.milli_ceil(),
            "memory" => reserved.memory = amount.value_ceil(),
            "ephemeral-storage" => reserved.ephemeral_storage = amount.value_ceil(),
            other => bail!(
                "{flag} {other}={text}: {other:?} cannot be reserved; use cpu, memory and \
                 ephemeral-storage"
            ),
        }
    }
    Ok(reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_string()).collect()
    }

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = entries.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        owned.collect()
    }

    #[test]
    fn flags_win_over_the_file_entry_by_entry() {
        let file = OwnFile {
            labels: map(&[("disk", "hdd"), ("rack", "7")]),
            taints: texts(&["a=1:NoSchedule", "b:NoExecute"]),
            system_reserved: map(&[("cpu", "1"), ("memory", "1Gi")]),
            kube_reserved: map(&[("ephemeral-storage", "1k")]),
        };
        let args = OwnArgs {
            labels: texts(&["disk=ssd", "topology.kubernetes.io/zone=x"]),
            taints: texts(&["a=2:NoSchedule"]),
            system_reserved: texts(&["cpu=250m"]),
            kube_reserved: Vec::new(),
        };
        let own = Own::settle(&args, file).expect("is fine");
        let labels = [
            ("disk", "ssd"),
            ("rack", "7"),
            ("topology.kubernetes.io/zone", "x"),
        ];
        assert_eq!(own.labels, map(&labels));
        let shown: Vec<String> = own.taints.iter().map(taint::written).collect();
        assert_eq!(shown, ["a=2:NoSchedule", "b:NoExecute"]);
        let system = Reserved {
            cpu_milli: 250,
            memory: 1 << 30,
            ephemeral_storage: 0,
        };
        assert_eq!(own.reserved[0], system);
        assert_eq!(own.reserved[1].ephemeral_storage, 1000);
    }

    fn refused(args: &OwnArgs) -> String {
        let error = Own::settle(args, OwnFile::default()).expect_err("refused");
        error.to_string()
    }

    #[test]
    fn labels_that_a_node_may_not_have_are_refused_with_their_reason() {
        for (label, why) in [
            ("disk", "is not KEY=VALUE"),
            ("a b=c", "name part must consist of"),
            ("a=b c", "a valid label must be"),
            (
                "kubernetes.io/hostname=x",
                "sets kubernetes.io/hostname by itself",
            ),
            ("node-role.kubernetes.io/db=", "use `kabuki label node`"),
            (
                "node-restriction.kubernetes.io/x=y",
                "use `kabuki label node`",
            ),
        ] {
            let labels = texts(&[label]);
            let args = OwnArgs {
                labels,
                ..OwnArgs::default()
            };
            let error = refused(&args);
            assert!(
                error.starts_with("--label ") && error.contains(why),
                "{error}"
            );
        }
    }

    #[test]
    fn taints_need_an_effect_that_exists_and_stand_once() {
        for (taints, why) in [
            (&["a=b"][..], "invalid taint spec: a=b"),
            (&["a"], "has no effect: write KEY=VALUE:EFFECT"),
            (&["a:Never"], "invalid taint effect: Never"),
            (&["a:NoSchedule", "a=b:NoSchedule"], "there is another one"),
        ] {
            let args = OwnArgs {
                taints: texts(taints),
                ..OwnArgs::default()
            };
            let error = refused(&args);
            assert!(
                error.starts_with("--taint ") && error.contains(why),
                "{error}"
            );
        }
    }

    #[test]
    fn only_known_resources_are_reserved() {
        for (amount, why) in [
            ("cpu", "\"cpu\" is not RESOURCE=AMOUNT"),
            ("pid=100", "\"pid\" cannot be reserved"),
            ("memory=1Q", "memory=1Q: "),
            ("memory=-1Gi", "is negative"),
        ] {
            let args = OwnArgs {
                kube_reserved: texts(&[amount]),
                ..OwnArgs::default()
            };
            let error = refused(&args);
            assert!(
                error.starts_with("--kube-reserved ") && error.contains(why),
                "{error}"
            );
        }
    }
}
