//! Whole documents.

use super::definitions::Definitions;
use super::paths;
use crate::discovery::group_versions;
use crate::served;
use crate::usage::Measured;
use kabuki_model::review::ReviewKind;
use serde_json::{Map, Value, json};

/// Which version of OpenAPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Dialect {
    /// Swagger 2.0: one document for everything.
    V2,
    /// OpenAPI 3.0: one document for each group and version.
    V3,
}

impl Dialect {
    /// Refers to a definition.
    pub(super) fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// The document of one group and version; of version 2, of all of them.
pub(super) fn document(dialect: Dialect, group: &str, version: &str) -> Value {
    let mut definitions = Definitions::new(dialect);
    let mut paths = Map::new();
    match dialect {
        Dialect::V3 => gather(dialect, group, version, &mut definitions, &mut paths),
        Dialect::V2 => {
            for (group, version) in group_versions() {
                gather(dialect, group, version, &mut definitions, &mut paths);
            }
        }
    }
    let info = json!({"title": "Kubernetes", "version": kabuki_model::KUBERNETES_VERSION});
    match dialect {
        Dialect::V3 => json!({
            "openapi": "3.0.0", "info": info, "paths": paths,
            "components": {
                "schemas": definitions.into_value(),
                "securitySchemes": {"BearerToken": {
                    "type": "apiKey", "in": "header", "name": "authorization",
                    "description": "Bearer Token authentication",
                }},
            },
        }),
        Dialect::V2 => json!({
            "swagger": "2.0", "info": info, "paths": paths,
            "definitions": definitions.into_value(),
            "securityDefinitions": {"BearerToken": {
                "type": "apiKey", "in": "header", "name": "authorization",
                "description": "Bearer Token authentication",
            }},
            "security": [{"BearerToken": []}],
        }),
    }
}

fn gather(
    dialect: Dialect,
    group: &str,
    version: &str,
    definitions: &mut Definitions,
    paths: &mut Map<String, Value>,
) {
    let fits = |s: &&served::Served| s.group == group && s.version == version;
    for served in served::all().iter().filter(fits) {
        let name = definitions.kind(served);
        let mut parts = Vec::new();
        for part in served.parts() {
            let own = served.kind_of(part).and_then(|kind| definitions.part(kind));
            parts.push((part, own));
        }
        paths::of_kind(dialect, served, &name, &parts, paths);
    }
    if (group, version) == (Measured::GROUP, Measured::VERSION) {
        for measured in Measured::ALL {
            let name = definitions.measured(*measured);
            paths::of_measured(dialect, *measured, &name, paths);
        }
    }
    let reviews = ReviewKind::ALL.iter().copied();
    for review in reviews.filter(|r| r.group() == group && r.version() == version) {
        let name = definitions.review(review);
        paths::of_review(dialect, review, &name, paths);
    }
}
