//! The shapes of errors, for the document; `problem` writes the real ones.

use http::StatusCode;
use operation::FieldError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::problem::Problem;

/// RFC 9457 problem details of a 4xx.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// `urn:strongroom:problem:` and the code.
    r#type: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// One sentence for people.
    detail: String,
    /// Stable, `lower_snake_case`: what programs rely on.
    code: String,
    /// The fields at fault; empty where no single field is.
    errors: Vec<FieldProblem>,
    /// The request's id, as in `X-Request-ID`.
    request_id: String,
}

/// What is wrong with one field.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct FieldProblem {
    /// The field's path in the request, or the parameter's or header's name.
    field: String,
    /// Stable, `lower_snake_case`.
    code: String,
    /// For people.
    message: String,
}

impl From<FieldError> for FieldProblem {
    fn from(error: FieldError) -> Self {
        let FieldError { field, code, message } = error;
        Self { field: field.into_owned(), code: code.into_owned(), message }
    }
}

/// All that a 5xx says.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = ServerProblem)]
pub(crate) struct ServerProblemBody {
    /// Stable, `lower_snake_case`.
    code: String,
    /// The code in words.
    title: String,
    /// The request's id, to be quoted to the operator.
    request_id: String,
}

/// The sentence of each code that always says the same, as the code that refuses says
/// it; a test holds the two together.
pub(crate) const DETAILS: [(&str, &str); 93] = [
    ("account_closed", "The account is closed"),
    ("account_frozen", "The account is frozen"),
    ("account_locked", "Too many failures. Try again later"),
    ("account_not_empty", "Only an account without balance and holds can be closed"),
    ("address_missing", "There is no address on record to send codes to"),
    ("already_joined", "They have a password already"),
    ("already_reversed", "The movement has been reversed before"),
    ("already_verified", "The address is proven already"),
    ("amount_too_large", "The amount must be at most 2^53 - 1 minor units"),
    ("approval_decided", "Somebody has decided before"),
    ("approval_expired", "Nobody has decided in time"),
    ("approval_tampered", "The order is not the one that was given"),
    ("backup_codes_due", "Two backup codes or fewer are left: make a new set first"),
    ("capture_exceeds_hold", "The amount is more than remains of the hold"),
    ("change_decided", "Somebody has decided before"),
    ("change_expired", "Nobody has decided in time"),
    ("change_tampered", "The change is not the one that was asked for"),
    ("changed_meanwhile", "The password was changed meanwhile"),
    ("client_key_known", "This key is registered already, or was"),
    ("code_wrong", "The code is not the one that was sent"),
    ("currency_mismatch", "The account holds another currency"),
    ("current_password_wrong", "The present password is wrong"),
    ("customer_inactive", "The customer is not active"),
    ("device_unknown", "Set up a second factor on a device that you have signed in from before"),
    ("email_malformed", "Not an e-mail address"),
    ("email_missing", "There is no e-mail address to send it to"),
    ("email_taken", "This e-mail address is taken"),
    ("factor_exists", "This factor is enrolled already; remove it first"),
    ("factors_changed", "Their second factors changed since this was asked for; turn it down"),
    ("hold_captured", "The hold has been captured and is over"),
    ("hold_expired", "The hold has expired and is over"),
    ("hold_released", "The hold has been released and is over"),
    ("idempotency_in_flight", "Try again"),
    ("idempotency_key_required", "Send an Idempotency-Key header: this request moves money"),
    ("idempotency_key_reused", "This Idempotency-Key was used for another request"),
    ("insufficient_funds", "The available balance is less than the amount"),
    ("invalid_amount", "The amount must be at least one minor unit"),
    ("invalid_code", "This code is not the one that is due"),
    ("invalid_credentials", "User name or password is wrong"),
    ("invalid_cursor", "The cursor belongs to another list"),
    ("invalid_sizes", "Expected 0 < from ≤ to ≤ the log's signed size"),
    ("invalid_token", "A valid access token is needed"),
    ("last_administrator", "Nobody would be left to administer the tenant"),
    ("last_factor", "The only second factor stays: add another one first"),
    ("link_invalid", "This link is no longer valid; ask for a new one"),
    ("maker_not_permitted", "Whoever ordered it may not order it any more"),
    ("malformed_json", "The body is not valid JSON"),
    ("method_unavailable", "This method cannot be used here"),
    ("module_not_enabled", "This module is not enabled for the tenant"),
    ("no_factor", "You have no second factor: enrol one first"),
    ("not_found", "No such object"),
    ("not_independent", "Whoever gave the other their role is no second person"),
    ("not_joined", "They never had a password; send an invitation"),
    ("not_sealed_yet", "The event is being sealed: try again in a second"),
    ("nothing_changes", "The policy is so already"),
    ("nothing_to_confirm", "Nothing of this method waits for its first code"),
    ("overdraft_in_use", "More of the overdraft is in use or held than the new limit allows"),
    ("own_account", "Nobody does this to their own account"),
    ("passkey_exists", "This passkey is registered already"),
    ("passkey_not_accepted", "The passkey was not accepted"),
    ("password_expired", "The password has reached its maximum age; change it first"),
    ("password_reused", "This password was used before"),
    ("permission_denied", "Insufficient permissions"),
    ("phone_malformed", "Not an E.164 number: + and 7 to 15 digits"),
    ("policy_changed", "The policy was changed since this was asked for; ask for it anew"),
    ("precondition_required", "Send If-Match with the ETag of the object as you read it"),
    ("privilege_escalation", "This role holds more than you do"),
    ("referral_code_unknown", "Nobody has this referral code"),
    ("registration_closed", "Nobody signs up here without an invitation"),
    ("request_timeout", "The body did not come within 10 seconds"),
    ("reset_pending", "A reset is waiting for a second admin already"),
    ("reset_tampered", "The request is not the one that was made"),
    ("roles_changed", "They hold other roles than when this was asked for: ask for it again"),
    ("same_account", "Money cannot be moved to the account it comes from"),
    ("sign_in_required", "Sign in again first"),
    ("signature_invalid", "The signature was not accepted"),
    (
        "signature_required",
        "Sign this request with a key of yours (RFC 9421, POST /v1/client-keys)",
    ),
    ("step_up_required", "Prove a second factor first (POST /v1/auth/step-up)"),
    ("token_expired", "Token has expired"),
    ("token_revoked", "Token has been revoked"),
    ("too_many_client_keys", "Nobody may have more than 10 keys: end one first"),
    ("too_many_passkeys", "Nobody may have more than 20 passkeys"),
    ("too_many_sessions", "End a session elsewhere first"),
    ("unbalanced", "The entries do not sum to zero"),
    ("unknown_role", "This tenant has no such role"),
    ("unsupported_media_type", "The body has to be sent as Content-Type: application/json"),
    ("user_disabled", "The account is disabled"),
    ("user_locked", "The account is locked; unlock it first"),
    ("username_taken", "This user name is taken"),
    ("value_date_before_opening", "The value date must not lie before the account's opening"),
    ("value_date_before_original", "The value date must not lie before that of the movement"),
    ("value_date_in_future", "The value date must not lie in the future"),
    ("version_conflict", "The object has changed since it was read; read it again"),
];

fn detail_of(code: &str) -> &'static str {
    let known = DETAILS.iter().find(|(known, _)| *known == code);
    known.map_or("The request cannot be answered as asked", |(_, detail)| *detail)
}

/// A problem as it would really be written.
pub(crate) fn problem_example(status: u16, code: &'static str) -> Value {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let (detail, field) = match code {
        "rate_limited" => ("Try again in 30 seconds", None),
        "malformed_request" => ("amount: Expected an integer within its range", Some("amount")),
        "validation_failed" => ("One or more fields are not acceptable", Some("description")),
        "insufficient_funds" => (detail_of(code), Some("amount")),
        _ => (detail_of(code), None),
    };
    let mut problem = Problem::new(status, code, detail);
    problem.errors.extend(field.map(|field| FieldError {
        field: field.into(),
        code: if code == "insufficient_funds" { code } else { "invalid_value" }.into(),
        message: match code {
            "insufficient_funds" => detail.to_owned(),
            _ => "Expected another value".to_owned(),
        },
    }));
    problem.body("0192e4c8-7f3a-7c1e-9b1f-3f1d2c4b5a69")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::{Path, PathBuf};

    use super::DETAILS;

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with(THIS) {
                found.push(path);
            }
        }
    }

    const THIS: &str = "api/src/wire/problem.rs";

    #[test]
    fn documented_sentences_are_those_that_are_said() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut paths = Vec::new();
        let crates_that_refuse =
            ["access", "api", "approvals", "audit", "banking", "identity", "ledger", "operation"];
        for name in crates_that_refuse {
            sources(&crates.join(name).join("src"), &mut paths);
        }
        let texts: Vec<String> =
            paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        for (code, detail) in DETAILS {
            let said = texts.iter().any(|text| {
                text.contains(&format!("\"{code}\"")) && text.contains(&format!("\"{detail}\""))
            });
            assert!(said, "no source refuses {code} with {detail:?}");
        }
        assert!(DETAILS.is_sorted_by_key(|(code, _)| *code));
    }
}
