//! The tables of `get`.

use super::super::align::Table;
use super::super::failure::Outcome;
use super::super::resolver::{Found, label};
use jiff::Timestamp;
use kabuki_model::kind::{Kind, Scope};
use kabuki_model::object::Stored;
use kabuki_model::printing;

/// What goes into a table beside its kind's own columns.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TableArgs {
    /// A last column with all labels
    #[arg(long)]
    pub show_labels: bool,
    /// A column for each of these labels
    #[arg(short = 'L', long, value_name = "KEY", value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// Leave out the headings
    #[arg(long)]
    pub no_headers: bool,
    /// Write names as TYPE/NAME
    #[arg(long)]
    pub show_kind: bool,
}

/// Tables of one command: one for each kind, with an empty line between them.
#[derive(Debug)]
pub struct Tables {
    args: TableArgs,
    wide: bool,
    namespaces: bool,
    kinds: bool,
    table: Table,
    current: Option<&'static Kind>,
}

impl Tables {
    /// `namespaces`: with a column for the namespace. `kinds`: names as TYPE/NAME.
    pub fn new(args: &TableArgs, wide: bool, namespaces: bool, kinds: bool) -> Self {
        Self {
            args: args.clone(),
            wide,
            namespaces,
            kinds: kinds || args.show_kind,
            table: Table::default(),
            current: None,
        }
    }

    /// The text of some objects, with headings where a kind begins. `event` is a first column
    /// for each (`--output-watch-events`).
    pub fn text(
        &mut self,
        found: &[Found],
        event: Option<&str>,
        now: Timestamp,
    ) -> Outcome<String> {
        let mut out = String::new();
        let mut rest = found;
        while let Some(first) = rest.first() {
            let same = |f: &Found| f.kind.resource == first.kind.resource;
            let length = rest.iter().take_while(|f| same(f)).count();
            let mut rows = Vec::new();
            if self
                .current
                .is_none_or(|k| k.resource != first.kind.resource)
            {
                if self.current.is_some() && !self.args.no_headers {
                    out.push('\n');
                }
                self.table = Table::default();
                self.current = Some(first.kind);
                if !self.args.no_headers {
                    rows.push(self.heading(first.kind, event.is_some()));
                }
            }
            for found in &rest[..length] {
                rows.push(self.row(found.kind, &found.object, event, now)?);
            }
            out.push_str(&self.table.rows(&rows));
            rest = &rest[length..];
        }
        Ok(out)
    }

    fn heading(&self, kind: &Kind, event: bool) -> Vec<String> {
        let mut cells = Vec::new();
        if event {
            cells.push("EVENT".to_string());
        }
        if self.namespaces && kind.scope() == Scope::Namespaced {
            cells.push("NAMESPACE".to_string());
        }
        let columns = kind.columns.iter().filter(|c| self.wide || !c.wide);
        cells.extend(columns.map(|c| c.name.to_string()));
        for key in &self.args.label_columns {
            cells.push(key.rsplit('/').next().unwrap_or(key).to_uppercase());
        }
        if self.args.show_labels {
            cells.push("LABELS".to_string());
        }
        cells
    }

    fn row(
        &self,
        kind: &Kind,
        object: &Stored,
        event: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Vec<String>> {
        let row = kind.row(object, now)?;
        let mut cells: Vec<String> = event.map(str::to_string).into_iter().collect();
        if self.namespaces && kind.scope() == Scope::Namespaced {
            cells.push(row.namespace);
        }
        for (column, cell) in kind.columns.iter().zip(row.cells) {
            if column.wide && !self.wide {
                continue;
            }
            let named = self.kinds && column.name == "NAME";
            cells.push(if named { label(kind, &cell) } else { cell });
        }
        let labels = object.meta().labels.as_ref();
        for key in &self.args.label_columns {
            cells.push(labels.and_then(|l| l.get(key)).cloned().unwrap_or_default());
        }
        if self.args.show_labels {
            cells.push(printing::labels(labels));
        }
        Ok(cells)
    }
}
