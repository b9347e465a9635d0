//! What answers have in common.

use crate::shell::{
    api::{Answer, Refusal, RefusalCode},
    dataplane::DataplaneError,
};

/// Groups or members in one answer: building it takes about a millisecond, in which nothing else runs.
pub(super) const PAGE: usize = 1000;

/// What is said to a question.
pub(in crate::shell) type Answered = Result<Answer, Refusal>;

/// The name that a state has in JSON.
pub(super) fn name_of(state: &impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Another machine may have the role that the question is about.
pub(in crate::shell) fn no_role(role: &str) -> Refusal {
    Refusal {
        code: RefusalCode::NoSuchRole,
        message: format!("this machine is not a {role}: ask a machine that is"),
    }
}

/// A map cannot be read.
pub(super) fn map(error: &DataplaneError) -> Refusal {
    failed(format!("cannot read the maps of the data plane: {error}"))
}

/// Something went wrong here.
pub(super) fn failed(message: String) -> Refusal {
    Refusal {
        code: RefusalCode::Failed,
        message,
    }
}
