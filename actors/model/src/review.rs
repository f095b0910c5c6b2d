//! Objects that are answered at once and never stored: one creates them to ask who somebody is
//! and what somebody may do (Kubernetes, `authentication.k8s.io` and `authorization.k8s.io`).

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReviewKind {
    /// `TokenReview`: whose a token is.
    Token,
    /// `SubjectAccessReview`: whether somebody may do something.
    SubjectAccess,
    /// `LocalSubjectAccessReview`: the same, in one namespace.
    LocalSubjectAccess,
    /// `SelfSubjectAccessReview`: whether the caller may do something.
    SelfSubjectAccess,
    /// `SelfSubjectRulesReview`: all that the caller may do in a namespace.
    SelfSubjectRules,
    /// `SelfSubjectReview`: who the caller is.
    SelfSubject,
}

impl ReviewKind {
    /// Every one, in the order of `api-resources`.
    pub const ALL: &[Self] = &[
        Self::SelfSubject,
        Self::Token,
        Self::LocalSubjectAccess,
        Self::SelfSubjectAccess,
        Self::SelfSubjectRules,
        Self::SubjectAccess,
    ];

    /// The one of this group and plural name.
    pub fn of(group: &str, plural: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|k| k.group() == group && k.plural() == plural)
    }

    /// `TokenReview`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Token => "TokenReview",
            Self::SubjectAccess => "SubjectAccessReview",
            Self::LocalSubjectAccess => "LocalSubjectAccessReview",
            Self::SelfSubjectAccess => "SelfSubjectAccessReview",
            Self::SelfSubjectRules => "SelfSubjectRulesReview",
            Self::SelfSubject => "SelfSubjectReview",
        }
    }

    /// `tokenreviews`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Token => "tokenreviews",
            Self::SubjectAccess => "subjectaccessreviews",
            Self::LocalSubjectAccess => "localsubjectaccessreviews",
            Self::SelfSubjectAccess => "selfsubjectaccessreviews",
            Self::SelfSubjectRules => "selfsubjectrulesreviews",
            Self::SelfSubject => "selfsubjectreviews",
        }
    }

    /// `tokenreview`.
    pub fn singular(self) -> &'static str {
        self.plural().trim_end_matches('s')
    }

    /// `authentication.k8s.io`.
    pub fn group(self) -> &'static str {
        match self {
            Self::Token | Self::SelfSubject => "authentication.k8s.io",
            Self::SubjectAccess
            | Self::LocalSubjectAccess
            | Self::SelfSubjectAccess
            | Self::SelfSubjectRules => "authorization.k8s.io",
        }
    }

    /// All of them are of this version.
    pub fn version(self) -> &'static str {
        "v1"
    }

    /// `authentication.k8s.io/v1`.
    pub fn api_version(self) -> String {
        format!("{}/{}", self.group(), self.version())
    }

    /// Whether they are created in a namespace.
    pub fn namespaced(self) -> bool {
        self == Self::LocalSubjectAccess
    }

    /// Whether it is about the caller alone, so that everyone may ask.
    pub fn is_about_self(self) -> bool {
        matches!(
            self,
            Self::SelfSubjectAccess | Self::SelfSubjectRules | Self::SelfSubject
        )
    }

    /// The JSON schema, with descriptions. Made anew at each call.
    pub fn schema(self) -> Value {
        match self {
            Self::Token => schemars::schema_for!(TokenReview),
            Self::SubjectAccess => schemars::schema_for!(SubjectAccessReview),
            Self::LocalSubjectAccess => schemars::schema_for!(LocalSubjectAccessReview),
            Self::SelfSubjectAccess => schemars::schema_for!(SelfSubjectAccessReview),
            Self::SelfSubjectRules => schemars::schema_for!(SelfSubjectRulesReview),
            Self::SelfSubject => schemars::schema_for!(SelfSubjectReview),
        }
        .to_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_group_and_plural_name() {
        for kind in ReviewKind::ALL {
            assert_eq!(ReviewKind::of(kind.group(), kind.plural()), Some(*kind));
            assert_eq!(kind.singular(), kind.kind().to_lowercase());
            assert!(kind.schema()["properties"].is_object(), "{kind:?}");
        }
        assert_eq!(ReviewKind::of("", "tokenreviews"), None);
    }
}
