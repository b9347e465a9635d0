//! Helpers that several answers use.

use crate::shell::{
    api::{Answer, Refusal, RefusalCode},
    dataplane::DataplaneError,
};

/// Number of groups or members in one answer. Building a page takes about a millisecond, in which the loop does nothing
/// else.
pub(super) const PAGE: usize = 1000;

/// An answer to a request, or the reason why there is none.
pub(in crate::shell) type Answered = Result<Answer, Refusal>;

/// The name that a state has in JSON.
pub(super) fn name_of(state: &impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// A refusal, because this machine does not have the role that the request is about.
pub(in crate::shell) fn no_role(role: &str) -> Refusal {
    Refusal {
        code: RefusalCode::NoSuchRole,
        message: format!("this machine is not a {role}: ask a machine that is"),
    }
}

/// A refusal, because a map cannot be read.
pub(super) fn map(error: &DataplaneError) -> Refusal {
    failed(format!("cannot read the maps of the data plane: {error}"))
}

/// A refusal, because the daemon could not execute the request.
pub(in crate::shell) fn failed(message: String) -> Refusal {
    Refusal {
        code: RefusalCode::Failed,
        message,
    }
}
