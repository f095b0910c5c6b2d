//! Every form of output that `-o` knows, for every verb.

mod columns;
mod table;

pub use columns::CustomColumns;

pub use table::{TableArgs, Tables};

use super::failure::{Failure, Outcome, fail};
use super::out::Out;
use super::resolver::{Found, label};
use anyhow::Context;
use kabuki_model::jsonpath::JsonPath;
use kabuki_model::kind::Kind;
use kabuki_model::manifest::to_yaml;
use serde::Serialize;
use serde_json::{Value, json};

/// How to print objects.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OutputArgs {
    /// json, yaml, name, wide, jsonpath=TEMPLATE, jsonpath-as-json=TEMPLATE, jsonpath-file=FILE,
    /// custom-columns=HEADING:PATH,.., custom-columns-file=FILE
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Keep `metadata.managedFields` in what is printed
    #[arg(long)]
    pub show_managed_fields: bool,
}

/// A form of output.
#[derive(Debug)]
pub enum Format {
    /// A table, or the message of a verb.
    Human {
        /// With the wide columns.
        wide: bool,
    },
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
    /// `pod/web`
    Name,
    /// A JSONPath template.
    JsonPath {
        /// The template.
        template: JsonPath,
        /// Whether the values are printed as JSON.
        as_json: bool,
    },
    /// Columns by path.
    Columns(CustomColumns),
}

impl OutputArgs {
    /// The form that is asked for.
    pub fn format(&self) -> Outcome<Format> {
        match &self.output {
            Some(text) => Format::parse(text),
            None => Ok(Format::Human { wide: false }),
        }
    }
}

/// How to print what is no object of the API.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ReportArgs {
    /// json, yaml, jsonpath=TEMPLATE, custom-columns=HEADING:PATH,..
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

impl ReportArgs {
    /// The form that is asked for.
    pub fn format(&self) -> Outcome<Format> {
        match self.output.as_deref().unwrap_or_default() {
            "name" => fail!("-o name is not available here: use json, yaml or jsonpath=TEMPLATE"),
            text => Format::parse(text),
        }
    }

    /// Prints rows that have fields as a list of the kind `kind`, or `table` for people.
    pub fn print(
        &self,
        out: &Out,
        kind: &str,
        items: Vec<Value>,
        table: impl FnOnce() -> String,
    ) -> Outcome {
        match self.format()? {
            Format::Human { .. } => out.text(&table()),
            format => format.value(out, &json!({"items": items, "kind": kind}), false),
        }
    }
}

fn read_file(path: &str) -> Outcome<String> {
    Ok(std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?)
}

impl Format {
    fn parse(text: &str) -> Outcome<Self> {
        let (name, argument) = text
            .split_once('=')
            .map_or((text, None), |(n, a)| (n, Some(a)));
        let needed = || {
            let example = match name.starts_with("custom") {
                true => "custom-columns=NAME:.metadata.name",
                false => "jsonpath='{.metadata.name}'",
            };
            argument.filter(|a| !a.is_empty()).ok_or_else(|| {
                Failure::new(format!(
                    "-o {name} needs what to print, for example -o {example}"
                ))
            })
        };
        Ok(match name {
            "" => Self::Human { wide: false },
            "wide" => Self::Human { wide: true },
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            "jsonpath" => Self::path(needed()?, false)?,
            "jsonpath-as-json" => Self::path(needed()?, true)?,
            "jsonpath-file" => Self::path(read_file(needed()?)?.trim_end(), false)?,
            "custom-columns" => Self::Columns(CustomColumns::parse(needed()?)?),
            "custom-columns-file" => {
                Self::Columns(CustomColumns::parse_file(&read_file(needed()?)?)?)
            }
            "go-template" | "go-template-file" | "template" | "templatefile" => fail!(
                "-o {name} is not supported; use jsonpath=TEMPLATE or custom-columns=HEADING:PATH"
            ),
            other => fail!(
                "unable to match a printer suitable for the output format {other:?}, allowed \
                 formats are: custom-columns,custom-columns-file,json,jsonpath,jsonpath-as-json,\
                 jsonpath-file,name,wide,yaml"
            ),
        })
    }

    fn path(template: &str, as_json: bool) -> Outcome<Self> {
        Ok(Self::JsonPath {
            template: JsonPath::parse(template)?,
            as_json,
        })
    }

    /// Whether people are to read it.
    pub fn is_human(&self) -> bool {
        matches!(self, Self::Human { .. })
    }

    /// Prints one value that is an object or a list; not for people.
    pub fn value(&self, out: &Out, value: &Value, no_headers: bool) -> Outcome {
        match self {
            Self::Human { .. } | Self::Name => match value["items"].as_array() {
                Some(items) if value["kind"] == "List" => {
                    let lines: String = items.iter().map(|i| name_of(i) + "\n").collect();
                    out.text(&lines)
                }
                _ => out.line(name_of(value)),
            },
            Self::Json => out.line(indented(value)?),
            Self::Yaml => out.text(&to_yaml(value)),
            Self::JsonPath {
                template,
                as_json: false,
            } => out.text(&template.render(value)?),
            Self::JsonPath {
                template,
                as_json: true,
            } => {
                let values = template.find(value)?.into_iter().cloned().collect();
                out.line(indented(&Value::Array(values))?)
            }
            Self::Columns(columns) => {
                let items = match value["items"].as_array() {
                    Some(items) if value["kind"].as_str().is_some_and(|k| k.ends_with("List")) => {
                        items.clone()
                    }
                    _ => vec![value.clone()],
                };
                columns.print(out, &items, no_headers)
            }
        }
    }

    /// Prints what a verb did to an object: `pod/web created`, or the object in another form.
    pub fn did(
        &self,
        out: &Out,
        kind: &Kind,
        value: &Value,
        did: &str,
        dry_run: DryRun,
    ) -> Outcome {
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        match self {
            Self::Human { .. } => {
                out.line(format!("{} {did}{}", label(kind, name), dry_run.note()))
            }
            Self::Name => out.line(label(kind, name)),
            _ => self.value(out, &shown(value.clone(), false), false),
        }
    }
}

/// `--dry-run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum DryRun {
    /// Really.
    #[default]
    None,
    /// Only print what would be sent.
    Client,
    /// Send it, but do not store it.
    Server,
}

impl DryRun {
    fn note(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }

    /// Whether the server is told not to store anything.
    pub fn on_server(self) -> bool {
        self == Self::Server
    }

    /// Whether nothing is sent at all.
    pub fn on_client(self) -> bool {
        self == Self::Client
    }
}

/// The `--dry-run` flag of verbs that write.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DryRunArgs {
    /// Do not store anything: `client` prints what would be sent, `server` has it checked
    #[arg(
        long,
        value_enum,
        default_value = "none",
        default_missing_value = "client",
        num_args = 0..=1,
        require_equals = true,
        value_name = "none|client|server"
    )]
    pub dry_run: DryRun,
}

/// Takes out what people rarely want to see.
pub fn shown(mut value: Value, managed_fields: bool) -> Value {
    if !managed_fields && let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    value
}

/// The `v1` `List` of some objects.
pub fn list_of(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

/// The objects as one value: itself when `single`, else a list.
pub fn combined(found: &[Found], single: bool, managed_fields: bool) -> Outcome<Value> {
    let values: Result<Vec<Value>, _> = found
        .iter()
        .map(|f| f.object.to_value().map(|v| shown(v, managed_fields)))
        .collect();
    let mut values = values?;
    Ok(match single && values.len() == 1 {
        true => values.remove(0),
        false => list_of(values),
    })
}

/// JSON with four spaces, as `kubectl` prints it.
pub fn indented(value: &Value) -> Outcome<String> {
    let mut bytes = Vec::new();
    let style = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, style);
    value
        .serialize(&mut serializer)
        .context("cannot write JSON")?;
    Ok(String::from_utf8(bytes).context("cannot write JSON")?)
}

fn name_of(value: &Value) -> String {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let kind = value["kind"].as_str().and_then(kabuki_model::kind::by_name);
    kind.map_or_else(|| name.to_string(), |kind| label(kind, name))
}

#[cfg(test)]
mod tests;
