//! Tokens for one use: made, replaced, consumed, forgotten.
//!
//! Owns the life of a row of `one_time_tokens`. Whoever makes or uses one has locked its
//! person first (`person`), so that two of a purpose are never alive together (the links of a
//! sign-up excepted) and none is used while it is being replaced. Refuses to know what a token permits.

use jiff::{SignedDuration, Timestamp};
use operation::{OperationError, Refusal};
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use vault::{BlindIndex, OpaqueToken};

use crate::Identity;

const SENT_LATELY: &str = tenancy::sql!("identity/one_time.sql", "sent_lately");
const VOID: &str = tenancy::sql!("identity/one_time.sql", "void");
const INSERT: &str = tenancy::sql!("identity/one_time.sql", "insert");
const FIND: &str = tenancy::sql!("identity/one_time.sql", "find");
const CONSUME: &str = tenancy::sql!("identity/one_time.sql", "consume");
const FORGET_OLD: &str = tenancy::sql!("identity/one_time.sql", "forget_old");

/// What a token is for; good for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To set a new password in the place of a forgotten one.
    PasswordReset,
    /// To set the first password.
    Invite,
    /// To prove the present e-mail address.
    EmailVerification,
    /// To prove another e-mail address, which becomes the present one.
    EmailChange,
    /// The same of a phone number, with a code beside.
    PhoneChange,
}

impl Purpose {
    /// Those whose link goes to the person's e-mail address: void once it is another.
    pub(crate) const TO_THE_EMAIL: [Self; 4] =
        [Self::PasswordReset, Self::Invite, Self::EmailVerification, Self::EmailChange];

    /// Those that a signed-in person asks for: void once their sessions end as not theirs.
    pub(crate) const OF_A_SESSION: [Self; 3] =
        [Self::EmailVerification, Self::EmailChange, Self::PhoneChange];

    /// The name in the database and in audit records.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::Invite => "invite",
            Self::EmailVerification => "email_verification",
            Self::EmailChange => "email_change",
            Self::PhoneChange => "phone_change",
        }
    }

    /// The kind in front of the token.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::PasswordReset => "reset",
            Self::Invite => "invite",
            Self::EmailVerification => "verify",
            Self::EmailChange => "mailchange",
            Self::PhoneChange => "phonechange",
        }
    }

    /// The page that its link leads to; a path, to which the configured origin is put in front.
    pub(crate) const fn page(self) -> &'static str {
        match self {
            Self::PasswordReset => "/reset/confirm",
            Self::Invite => "/invite",
            Self::EmailVerification | Self::EmailChange | Self::PhoneChange => "/verify-email",
        }
    }

    const fn lifetime(self) -> SignedDuration {
        match self {
            Self::PasswordReset => SignedDuration::from_mins(30),
            Self::Invite => SignedDuration::from_hours(7 * 24),
            Self::EmailVerification | Self::EmailChange => SignedDuration::from_hours(24),
            Self::PhoneChange => SignedDuration::from_mins(5),
        }
    }

    /// How many of them one person is sent within an hour.
    const fn hourly_max(self) -> i64 {
        match self {
            Self::PasswordReset => 3,
            _ => 5,
        }
    }
}

/// The column of a payload, as its ciphertext is bound to it.
pub(crate) const PAYLOAD: (&str, &str) = ("one_time_tokens", "payload_sealed");

/// What follows from using a token, sealed: what a change is to, or what somebody who signs
/// up wished for.
pub(crate) struct Payload {
    pub(crate) sealed: Vec<u8>,
    /// Of an address.
    pub(crate) index: Option<BlindIndex>,
}

/// A token to be made.
pub(crate) struct NewToken {
    pub(crate) id: Uuid,
    pub(crate) purpose: Purpose,
    pub(crate) user: Uuid,
    pub(crate) token: OpaqueToken,
    /// Where a code is due beside it: [`code_hash`].
    pub(crate) code_hash: Option<[u8; 32]>,
    pub(crate) payload: Option<Payload>,
}

impl NewToken {
    /// A token of a purpose, without code and payload.
    pub(crate) fn generate(
        context: &OpContext,
        purpose: Purpose,
        user: Uuid,
    ) -> Result<Self, DbError> {
        let token = OpaqueToken::generate(purpose.kind(), context.tenant_id())
            .map_err(|error| DbError::Corrupt(error.to_string()))?;
        let id = context.clock.new_id();
        Ok(Self { id, purpose, user, token, code_hash: None, payload: None })
    }

    /// Whether it is the link of a sign-up: one does not void another.
    fn stands_beside_others(&self) -> bool {
        self.purpose == Purpose::Invite && self.payload.is_some()
    }

    /// The path of its link.
    pub(crate) fn link(&self) -> String {
        format!("{}?token={}", self.purpose.page(), self.token.expose())
    }

    /// Stores it in the place of an earlier one of its purpose, and says when it ends;
    /// nothing where the person was sent too many within the hour. Invitations of those who
    /// sign up stand beside each other: each is good for the form that it was sent for.
    pub(crate) async fn store(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Option<Timestamp>, DbError> {
        let (tenant, purpose) = (transaction.tenant(), self.purpose.as_str());
        let most = self.purpose.hourly_max();
        let lately =
            transaction.query_opt(SENT_LATELY, &[&tenant, &self.user, &purpose, &most]).await?;
        let sent = lately.map(|row| row.try_get::<_, i64>("sent")).transpose()?;
        if sent.is_none_or(|sent| sent >= most) {
            return Ok(None);
        }
        let expires_at =
            context.clock.now().checked_add(self.purpose.lifetime()).unwrap_or(Timestamp::MAX);
        let (purposes, hash) = ([purpose], self.token.hash());
        let code = self.code_hash.as_ref().map(<[u8; 32]>::as_slice);
        let payload = self.payload.as_ref();
        let sealed = payload.map(|payload| &payload.sealed);
        let index = payload.and_then(|payload| payload.index.as_ref()).map(<[u8; 33]>::as_slice);
        let hash = hash.as_slice();
        let void: [&(dyn ToSql + Sync); 3] = [&tenant, &self.user, &&purposes[..]];
        let insert: [&(dyn ToSql + Sync); 9] =
            [&tenant, &self.id, &self.user, &purpose, &hash, &code, &sealed, &index, &expires_at];
        let mut queries = vec![Query::new(INSERT, &insert)];
        if !self.stands_beside_others() {
            queries.insert(0, Query::new(VOID, &void));
        }
        transaction.pipeline(&queries).await?;
        Ok(Some(expires_at))
    }
}

/// A token that is good so far.
pub(crate) struct LiveToken {
    pub(crate) id: Uuid,
    pub(crate) user: Uuid,
    pub(crate) payload: Option<LivePayload>,
}

/// [`Payload::sealed`], with the key that opens it.
pub(crate) struct LivePayload {
    pub(crate) sealed: Vec<u8>,
    pub(crate) key_id: Uuid,
    pub(crate) kek_epoch: i32,
    pub(crate) wrapped_key: Vec<u8>,
}

impl LiveToken {
    fn read(row: &Row) -> Result<Self, DbError> {
        let sealed: Option<Vec<u8>> = row.try_get("payload_sealed")?;
        // None where the person is erased.
        let wrapped_key: Option<Vec<u8>> = row.try_get("wrapped_key")?;
        let payload = match (sealed, wrapped_key) {
            (Some(sealed), Some(wrapped_key)) => Some(LivePayload {
                sealed,
                key_id: row.try_get("key_id")?,
                kek_epoch: row.try_get("kek_epoch")?,
                wrapped_key,
            }),
            _ => None,
        };
        Ok(Self { id: row.try_get("id")?, user: row.try_get("user_id")?, payload })
    }
}

/// What became of a token that was presented.
pub(crate) enum Consumed {
    /// It was good, and is no more.
    Used {
        id: Uuid,
        /// [`Payload::sealed`].
        payload: Option<Vec<u8>>,
    },
    /// The code beside it was wrong, and this counts.
    WrongCode,
    /// There is no such live token.
    Gone,
}

/// Consumes a token of one person: the one primitive.
pub(crate) async fn consume(
    transaction: &TenantTx,
    (purpose, user): (Purpose, Uuid),
    token: &[u8; 32],
    code: Option<&[u8; 32]>,
) -> Result<Consumed, DbError> {
    let tenant = transaction.tenant();
    let (token, code) = (token.as_slice(), code.map(<[u8; 32]>::as_slice));
    let parameters: [&(dyn ToSql + Sync); 5] = [&tenant, &token, &purpose.as_str(), &user, &code];
    let Some(row) = transaction.query_opt(CONSUME, &parameters).await? else {
        return Ok(Consumed::Gone);
    };
    if !row.try_get::<_, bool>("used")? {
        return Ok(Consumed::WrongCode);
    }
    Ok(Consumed::Used { id: row.try_get("id")?, payload: row.try_get("payload_sealed")? })
}

/// Ends a person's live tokens of some purposes.
pub(crate) async fn void(
    transaction: &TenantTx,
    user: Uuid,
    purposes: &[Purpose],
) -> Result<(), DbError> {
    let names: Vec<&str> = purposes.iter().map(|purpose| purpose.as_str()).collect();
    transaction.execute(VOID, &[&transaction.tenant(), &user, &names]).await?;
    Ok(())
}

/// What a code is stored as, together with the token it was sent for.
pub(crate) fn code_hash(token: &OpaqueToken, code: &str) -> [u8; 32] {
    vault::sha256_parts(&[token.expose().as_bytes(), code.as_bytes()])
}

/// The one answer to a token that is not good, whatever is wrong with it.
pub(crate) fn link_invalid(field: &'static str) -> Refusal {
    Refusal::rule("link_invalid", field, "This link is no longer valid; ask for a new one")
}

impl Identity {
    /// The live token of a purpose that this is.
    pub(super) async fn live_token(
        &self,
        context: &OpContext,
        purpose: Purpose,
        token: &OpaqueToken,
    ) -> Result<Option<LiveToken>, DbError> {
        let (tenant, hash) = (context.tenant_id(), token.hash());
        let hash = hash.as_slice();
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &hash, &purpose.as_str()];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(FIND, &parameters)).await?;
        rows.first().map(LiveToken::read).transpose()
    }

    /// Forgets tokens whose end was a day ago, one batch; for a worker. Says how many.
    pub async fn forget_one_time_tokens(&self, context: &OpContext) -> Result<u64, OperationError> {
        let transaction = self.inner.operations.database().begin(context).await?;
        let forgotten = transaction.execute(FORGET_OLD, &[&context.tenant_id()]).await?;
        transaction.commit().await?;
        Ok(forgotten)
    }
}
