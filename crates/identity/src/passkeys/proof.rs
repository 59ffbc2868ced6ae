//! Whether a proof is a stored credential's, and what is written if it is.
//!
//! Runs inside the command that acts on it, under the lock on the owner's row, which
//! whoever changes a credential holds. Refuses to know what the proof is for.

use audit::{AuditEvent, EventType, Outcome as AuditOutcome};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Parameters, PasskeyProof};
use crate::{
    events::about,
    webauthn::{
        CREDENTIAL_ID_BYTES_MAX, CredentialKey, Expected, Fault,
        assertion::{Assertion, Proven, Stored},
    },
};

const LOAD: &str = tenancy::sql!("identity/passkeys.sql", "load");
const NOTE_USE: &str = tenancy::sql!("identity/passkeys.sql", "note_use");
const NOTE_FACTOR_USE: &str = tenancy::sql!("identity/passkeys.sql", "note_factor_use");

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unproven {
    /// The challenge is over, was used, or is another's.
    Challenge,
    /// Nobody has the credential, or not this person.
    UnknownCredential,
    /// Its owner may not sign in.
    Disabled,
    /// The ceremony is at fault.
    Fault(Fault),
}

impl Unproven {
    const fn reason(self) -> &'static str {
        match self {
            Self::Challenge => "challenge",
            Self::UnknownCredential => "unknown_credential",
            Self::Disabled => "disabled",
            Self::Fault(fault) => fault.code(),
        }
    }

    /// What is kept of it.
    pub(super) fn events(
        self,
        context: &OpContext,
        action: &'static str,
        user: Option<Uuid>,
    ) -> Vec<AuditEvent> {
        let failure = self.event(context, EventType::AuthFailure, (action, user));
        std::iter::once(failure).chain(self.alarm(context, action, user)).collect()
    }

    /// A counter that went back is an alarm: there may be a copy of the key.
    pub(super) fn alarm(
        self,
        context: &OpContext,
        action: &'static str,
        user: Option<Uuid>,
    ) -> Option<AuditEvent> {
        (self == Self::Fault(Fault::CounterWentBack))
            .then(|| self.event(context, EventType::SecurityViolation, (action, user)))
    }

    fn event(
        self,
        context: &OpContext,
        kind: EventType,
        (action, user): (&'static str, Option<Uuid>),
    ) -> AuditEvent {
        about(context, kind, action, (user, None))
            .outcome(AuditOutcome::Denied)
            .details(json!({ "reason": self.reason() }))
    }
}

/// Verifies a proof and notes its use: gives the credential's id and what was proven.
pub(super) async fn prove(
    transaction: &TenantTx,
    (user, proof): (Uuid, &PasskeyProof),
    expected: &Expected<'_>,
    handle_needed: bool,
) -> Result<Result<(Uuid, Proven), Unproven>, DbError> {
    if proof.credential_id.len() > CREDENTIAL_ID_BYTES_MAX {
        return Ok(Err(Unproven::UnknownCredential));
    }
    let tenant = transaction.tenant();
    let load: Parameters<'_, 3> = [&tenant, &user, &proof.credential_id];
    let Some(row) = transaction.query_opt(LOAD, &load).await? else {
        return Ok(Err(Unproven::UnknownCredential));
    };
    let id: Uuid = row.try_get("id")?;
    let assertion = Assertion {
        credential_id: &proof.credential_id,
        client_data: &proof.client_data,
        authenticator_data: &proof.authenticator_data,
        signature: &proof.signature,
        user_handle: proof.user_handle.as_deref(),
    };
    let proven = match assertion.verify(expected, &stored(&row)?, handle_needed) {
        Ok(proven) => proven,
        Err(fault) => return Ok(Err(Unproven::Fault(fault))),
    };
    let count = i64::from(proven.sign_count);
    let note: Parameters<'_, 4> = [&tenant, &id, &count, &proven.backed_up];
    let factor: Parameters<'_, 2> = [&tenant, &user];
    transaction
        .pipeline(&[Query::new(NOTE_USE, &note), Query::new(NOTE_FACTOR_USE, &factor)])
        .await?;
    Ok(Ok((id, proven)))
}

fn stored(row: &Row) -> Result<Stored, DbError> {
    let corrupt = |what: &str| DbError::Corrupt(format!("a stored passkey's {what}"));
    let key: Vec<u8> = row.try_get("public_key")?;
    let count: i64 = row.try_get("sign_count")?;
    Ok(Stored {
        credential_id: row.try_get("credential_id")?,
        key: CredentialKey::from_bytes(&key).ok_or_else(|| corrupt("key"))?,
        sign_count: u32::try_from(count).map_err(|_| corrupt("counter"))?,
        backup_eligible: row.try_get("backup_eligible")?,
        user_handle: row.try_get("user_handle")?,
    })
}
