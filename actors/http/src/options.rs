//! The options of requests (`metav1` `ListOptions`, `CreateOptions` and its kin), from the query,
//! refused in Kubernetes' words when they cannot be.

use crate::request::Context;
use crate::served::Served;
use http::header::USER_AGENT;
use kabuki_model::StatusError;
use kabuki_model::request::{FieldValidation, ListRequest, WriteOptions};
use kabuki_model::status::Cause;
use kabuki_protocol::front::Freshness;
use std::time::Duration;

/// How a list is to be read.
const EXACT: &str = "Exact";
/// See [`EXACT`].
const NOT_OLDER_THAN: &str = "NotOlderThan";
/// The longest name of a field manager, in bytes.
const MAX_MANAGER: usize = 128;
/// A watch that does not say how long it lasts ends after this, and up to as long again, so that
/// clients spread over the servers; as in Kubernetes.
const WATCH_LASTS: Duration = Duration::from_secs(1800);

/// The revision that a query names; `None` for none or zero.
fn revision(context: &Context) -> Result<Option<u64>, StatusError> {
    let text = context.query.text("resourceVersion");
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let cause = Cause::invalid(
            "resourceVersion",
            text,
            "strconv.ParseUint: parsing: invalid syntax",
        );
        StatusError::bad_request(format!(
            "Invalid value: {text:?}: {}: {}",
            cause.field, cause.message
        ))
    })
}

/// Which objects a list, a watch or a deletion of many is about.
pub fn selection(context: &Context, served: &Served) -> Result<ListRequest, StatusError> {
    let info = &context.info;
    let namespace = (!info.namespace.is_empty()).then_some(&*info.namespace);
    let mut list = ListRequest::all(served.kind.resource.clone(), namespace);
    list.labels = context.query.text("labelSelector").to_string();
    let fields = context.query.text("fieldSelector");
    list.fields = match served.form {
        None => fields.to_string(),
        Some(form) => form.selector(fields)?,
    };
    if !info.name.is_empty() {
        let name = format!("metadata.name={}", info.name);
        list.fields = match list.fields.as_str() {
            "" => name,
            others => format!("{others},{name}"),
        };
    }
    Ok(list)
}

/// How fresh a get must be.
pub fn get_freshness(context: &Context) -> Result<Freshness, StatusError> {
    Ok(match revision(context)? {
        None => Freshness::Latest,
        Some(0) => Freshness::Any,
        Some(revision) => Freshness::NotOlderThan(revision),
    })
}

/// A list with its pages, and how fresh it must be.
pub fn list(context: &Context, served: &Served) -> Result<(ListRequest, Freshness), StatusError> {
    let refuse = |cause| Err(StatusError::invalid_options("ListOptions", cause));
    let query = &context.query;
    let mut list = selection(context, served)?;
    let limit = query.number("limit")?.unwrap_or(0);
    list.limit = match u32::try_from(limit) {
        Ok(limit) => limit,
        Err(_) if limit < 0 => 0,
        Err(_) => u32::MAX,
    };
    list.continue_token = query.text("continue").to_string();
    let (given, rule) = (revision(context)?, query.text("resourceVersionMatch"));
    let field = "resourceVersionMatch";
    if query.optional_flag("sendInitialEvents").is_some() {
        let why = "sendInitialEvents is forbidden for list";
        return refuse(Cause::forbidden("sendInitialEvents", why));
    }
    if !rule.is_empty() {
        if given.is_none() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            return refuse(Cause::forbidden(field, why));
        }
        if !list.continue_token.is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            return refuse(Cause::forbidden(field, why));
        }
        if !matches!(rule, EXACT | NOT_OLDER_THAN) {
            return refuse(Cause::unsupported(field, rule, &[EXACT, NOT_OLDER_THAN]));
        }
        if rule == EXACT && given == Some(0) {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            return refuse(Cause::forbidden(field, why));
        }
    }
    if !list.continue_token.is_empty() && given.is_some_and(|revision| revision > 0) {
        return Err(StatusError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    let freshness = match (given, rule) {
        (None, _) => Freshness::Latest,
        (Some(0), _) => Freshness::Any,
        (Some(revision), EXACT) => Freshness::Exact(revision),
        // Without a rule, pages are of exactly the revision that is named.
        (Some(revision), "") if list.limit > 0 => Freshness::Exact(revision),
        (Some(revision), _) => Freshness::NotOlderThan(revision),
    };
    Ok((list, freshness))
}

/// How a watch begins, and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// How fresh the state must be that it begins with, or after.
    pub freshness: Freshness,
    /// Whether the objects that there are come first; otherwise only changes come.
    pub initial: bool,
    /// Whether the end of the initial objects is said by a bookmark.
    pub mark_initial_end: bool,
    /// The revision after which changes come; `None` is that of the state.
    pub after: Option<u64>,
    /// Whether bookmarks may be sent.
    pub bookmarks: bool,
    /// When it ends.
    pub lasts: Duration,
}

/// The options of a watch.
pub fn watch(context: &Context) -> Result<WatchOptions, StatusError> {
    let refuse = |cause| Err(StatusError::invalid_options("ListOptions", cause));
    let query = &context.query;
    let (given, rule) = (revision(context)?, query.text("resourceVersionMatch"));
    let send = query.optional_flag("sendInitialEvents");
    let field = "resourceVersionMatch";
    match (send, rule) {
        (None, "") | (Some(_), NOT_OLDER_THAN) => {}
        (Some(_), _) => {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return refuse(Cause::forbidden(field, why));
        }
        (None, _) => {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return refuse(Cause::forbidden(field, why));
        }
    }
    let bookmarks = query.flag("allowWatchBookmarks");
    let freshness = match given {
        None => Freshness::Latest,
        Some(0) => Freshness::Any,
        Some(revision) => Freshness::NotOlderThan(revision),
    };
    let fresh_start = given.is_none_or(|revision| revision == 0);
    let initial = send.unwrap_or(fresh_start);
    let seconds = query.number("timeoutSeconds")?.unwrap_or(0);
    let lasts = match u64::try_from(seconds) {
        Ok(0) | Err(_) => WATCH_LASTS + WATCH_LASTS.mul_f64(rand::random::<f64>()),
        Ok(seconds) => Duration::from_secs(seconds),
    };
    Ok(WatchOptions {
        freshness,
        initial,
        mark_initial_end: send == Some(true) && bookmarks,
        after: given.filter(|_| !fresh_start),
        bookmarks,
        lasts,
    })
}

/// How a write is done; `kind` names the options in refusals (`CreateOptions`).
pub fn write(context: &Context, served: &Served, kind: &str) -> Result<WriteOptions, StatusError> {
    let query = &context.query;
    let validation = match query.text("fieldValidation") {
        "" | "Warn" => FieldValidation::Warn,
        "Strict" => FieldValidation::Strict,
        "Ignore" => FieldValidation::Ignore,
        other => {
            let allowed = &["Ignore", "Strict", "Warn"];
            let cause = Cause::unsupported("fieldValidation", other, allowed);
            return Err(StatusError::invalid_options(kind, cause));
        }
    };
    let manager = query.text("fieldManager");
    if manager.len() > MAX_MANAGER {
        let cause = Cause::too_long("fieldManager", MAX_MANAGER);
        return Err(StatusError::invalid_options(kind, cause));
    }
    let field_manager = match manager {
        "" => manager_of(context.header(USER_AGENT).unwrap_or_default()),
        manager => manager.to_string(),
    };
    Ok(WriteOptions {
        dry_run: dry_run(context, kind)?,
        validation,
        field_manager,
        api_version: served.written_as(),
    })
}

/// `dryRun`: everything but the write itself.
pub fn dry_run(context: &Context, kind: &str) -> Result<bool, StatusError> {
    let mut dry_run = false;
    for value in context.query.all("dryRun") {
        if value != "All" {
            let cause = Cause::unsupported("dryRun", value, &["All"]);
            return Err(StatusError::invalid_options(kind, cause));
        }
        dry_run = true;
    }
    Ok(dry_run)
}

/// The manager of one who names none: the program, as it names itself.
fn manager_of(agent: &str) -> String {
    let name = agent.split('/').next().unwrap_or_default();
    let mut shown: String = name.chars().filter(|c| !c.is_control()).collect();
    while shown.len() > MAX_MANAGER {
        shown.pop();
    }
    match shown.is_empty() {
        true => "unknown".to_string(),
        false => shown,
    }
}
