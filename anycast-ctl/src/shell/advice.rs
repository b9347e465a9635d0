//! Messages about commands that the core refuses, with advice for the operator.

use crate::core::{controller::CommandError, router::PolicyError};

/// Why a command was refused, and what the operator can do.
pub(super) fn command(error: CommandError) -> String {
    match error {
        CommandError::NotMember => {
            format!("{error}: give it a [member] section and restart the daemon")
        }
        CommandError::UnknownGroup(_) => {
            format!("{error}: `anycast-ctl groups` lists them, [[member.group]] adds one")
        }
    }
}

/// Why the policy was not changed, and what the operator can do.
pub(super) fn policy(error: PolicyError) -> String {
    match error {
        PolicyError::NoRule(_) => format!("{error}: `anycast-ctl policy list` shows the rules"),
        PolicyError::Full => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_helps() {
        assert_eq!(
            command(CommandError::UnknownGroup(std::net::Ipv6Addr::LOCALHOST)),
            "::1 is not a configured group: `anycast-ctl groups` lists them, [[member.group]] adds one"
        );
        assert_eq!(
            command(CommandError::NotMember),
            "this machine has no member role: give it a [member] section and restart the daemon"
        );
        assert_eq!(
            policy(PolicyError::NoRule(7)),
            "there is no rule 7: `anycast-ctl policy list` shows the rules"
        );
    }
}
