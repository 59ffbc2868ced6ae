//! Whether a signature is of a key of whoever sent it, and was not seen before.
//!
//! Refuses to know the message: the interface has it, verifies it with the key that it is given
//! here, and has the nonce taken when everything else held.

use access::Permission;
use audit::{EventType, Outcome as AuditOutcome};
use jiff::Timestamp;
use operation::{Applied, Command, Failure, event};
use serde_json::json;
use tenancy::{ActorKind, DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vault::http_signature::{DigestError, MessageVerifyingKey, SignatureError, VerifiedSignature};

use super::{ClientKeyRecord, ONE, RESOURCE};
use crate::Identity;

const TAKE_NONCE: &str = tenancy::sql!("identity/client_keys.sql", "take_nonce");
const FORGET_NONCES: &str = tenancy::sql!("identity/client_keys.sql", "forget_nonces");

/// Why a signature was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureFault {
    /// The signature itself, or what it covers.
    Signature(SignatureError),
    /// Another content than the one that was signed.
    Digest(DigestError),
    /// More signatures than one: which of them counts would be a guess.
    Several,
    /// No such key in this tenant.
    UnknownKey,
    /// Somebody else's key.
    ForeignKey,
    /// A key that has ended.
    RevokedKey,
    /// A nonce that was used before.
    Replayed,
}

impl SignatureFault {
    /// As records name it.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Signature(SignatureError::BadSignature) => "bad_signature",
            Self::Signature(SignatureError::Expired | SignatureError::NotYetValid) => "time",
            Self::Signature(SignatureError::Uncovered(_)) => "uncovered",
            Self::Signature(_) => "malformed",
            Self::Digest(DigestError::Mismatch) => "content_digest",
            Self::Digest(_) => "malformed_digest",
            Self::Several => "several",
            Self::UnknownKey => "unknown_key",
            Self::ForeignKey => "foreign_key",
            Self::RevokedKey => "revoked_key",
            Self::Replayed => "replayed",
        }
    }

    /// What nobody does by mistake, or what somebody did who has a key that is not theirs any
    /// more. A clock that is wrong and a header that was forgotten are failures alone.
    const fn kind(&self) -> EventType {
        match self {
            Self::Signature(SignatureError::BadSignature)
            | Self::Digest(DigestError::Mismatch)
            | Self::UnknownKey
            | Self::ForeignKey
            | Self::RevokedKey
            | Self::Replayed => EventType::SecurityViolation,
            Self::Signature(_) | Self::Digest(_) | Self::Several => EventType::AuthFailure,
        }
    }
}

impl Identity {
    /// What verifies signatures of a key of whoever sent the request. Read each time: what was
    /// revoked is refused from the next request on, on every node.
    pub async fn client_verifier(
        &self,
        context: &OpContext,
        key: Uuid,
    ) -> Result<Result<MessageVerifyingKey, SignatureFault>, DbError> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &key];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(ONE, &parameters)).await?;
        let Some(row) = rows.first() else { return Ok(Err(SignatureFault::UnknownKey)) };
        let record = ClientKeyRecord::read(row)?;
        let actor = &context.actor;
        let owner = match actor.kind {
            ActorKind::User => record.user_id,
            ActorKind::ApiKey => record.api_key_id,
            ActorKind::Worker | ActorKind::Cli | ActorKind::Anonymous => None,
        };
        if owner != Some(actor.id) {
            return Ok(Err(SignatureFault::ForeignKey));
        }
        if record.revoked_at.is_some() {
            return Ok(Err(SignatureFault::RevokedKey));
        }
        record.verifier().map(Ok)
    }

    /// Takes the nonce of a signature that verified, once: of fifty requests with the same one
    /// is let through. In a transaction of its own, before what was asked for is begun: a
    /// request that fails has used its nonce up and is signed anew.
    pub async fn take_nonce(
        &self,
        context: &OpContext,
        key: Uuid,
        signature: &VerifiedSignature,
    ) -> Result<bool, DbError> {
        let (tenant, nonce) = (context.tenant_id(), signature.nonce.as_deref().unwrap_or_default());
        let until = Timestamp::from_second(signature.taken_until_s).unwrap_or(Timestamp::MAX);
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &key, &nonce, &until];
        let database = self.inner.operations.database();
        let queries = [Query::new(TAKE_NONCE, &parameters)];
        let (transaction, rows) = database.begin_with(context, &queries).await?;
        let is_taken = rows.first().is_some_and(|rows| !rows.is_empty());
        transaction.commit().await?;
        Ok(is_taken)
    }

    /// Forgets nonces of signatures that are too old to be taken again, one batch; for a worker.
    /// Says how many.
    pub async fn forget_nonces(&self, context: &OpContext) -> Result<u64, DbError> {
        let transaction = self.inner.operations.database().begin(context).await?;
        let forgotten = transaction.execute(FORGET_NONCES, &[&context.tenant_id()]).await?;
        transaction.commit().await?;
        Ok(forgotten)
    }
}

/// A signature was refused.
pub(super) struct RefuseSignature {
    /// The key that it named.
    pub(super) key: Option<Uuid>,
    pub(super) fault: SignatureFault,
}

impl Command for RefuseSignature {
    const NAME: &'static str = "signature.refuse";
    const RESOURCE: &'static str = RESOURCE;
    /// A record of what was refused, whoever asked.
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::KeyRead
    }

    async fn execute(&self, _: &TenantTx, context: &OpContext) -> Result<Applied<()>, Failure> {
        let mut event = event(context, self.fault.kind(), Self::NAME, Self::RESOURCE)
            .outcome(AuditOutcome::Denied)
            .details(json!({ "reason": self.fault.reason() }));
        if let Some(key) = self.key {
            event = event.resource_id(key);
        }
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}
