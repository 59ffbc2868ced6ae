//! The keys with which clients sign their requests (RFC 9421): who registered which, and whether
//! a signature is one of theirs and new.
//!
//! A key belongs to one person or one machine and proves nothing of anybody else; it opens
//! nothing by itself, for whoever signs is signed in as well. Only its public half is here. What
//! a signature has to cover and which requests need one is the interface's to know.

mod commands;
mod model;
mod signed;

use access::Permission;
use operation::{Call, OperationError, Page, PageRequest, Refusal, access_log::Access};
use tenancy::{OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{
    Identity,
    sessions::{Forgotten, after_of, own_user},
};
use commands::{Register, Revoke};
pub use model::{ClientKeyRecord, NewClientKey};
pub use signed::SignatureFault;

const LIST: &str = tenancy::sql!("identity/client_keys.sql", "list");
const ONE: &str = tenancy::sql!("identity/client_keys.sql", "one");

/// What these are called in records.
const RESOURCE: &str = "client_key";

impl Identity {
    /// Registers the public half of a key, of the caller or, where they may make API keys, of a
    /// machine. Only people do, with a factor used within five minutes.
    ///
    /// Where policy has requests signed, only somebody's first key comes without a signature.
    /// Refused in this order: `permission_denied`, `step_up_required`, every field at fault
    /// together, `not_found` (of `api_key_id`), `signature_required`, `too_many_client_keys`,
    /// `client_key_known`.
    pub async fn register_client_key(
        &self,
        context: &OpContext,
        new: NewClientKey,
    ) -> Result<ClientKeyRecord, OperationError> {
        let person = own_user(context)?;
        self.require_factor_of_people(context).await?;
        let signature_needed =
            self.state(context).await?.policy.require_signature && !is_signed(context);
        let id = context.clock.new_id();
        if new.api_key_id.is_some() {
            let command = Register::<false> { id, person, new, signature_needed };
            self.run_and_forget(context, command, Forgotten::Nothing).await
        } else {
            let command = Register::<true> { id, person, new, signature_needed };
            self.run_and_forget(context, command, Forgotten::Nothing).await
        }
    }

    /// The caller's keys, newest first; everybody's and those of machines for whoever may read
    /// keys, of one machine alone where `api_key` says so.
    pub async fn client_keys(
        &self,
        context: &OpContext,
        api_key: Option<Uuid>,
        page: &PageRequest,
    ) -> Result<Page<ClientKeyRecord>, OperationError> {
        let (person, after) = (own_user(context)?, after_of(page)?);
        let (tenant, fetch) = (context.tenant_id(), page.fetch());
        let reads_all = self.may(context, Permission::KeyRead);
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&tenant, &reads_all, &person, &api_key, &after, &fetch];
        let database = self.inner.operations.database();
        let rows = database.read(context, &[Query::new(LIST, &parameters)]).await?;
        let records = (rows.first().map_or(&[][..], Vec::as_slice).iter())
            .map(ClientKeyRecord::read)
            .collect::<Result<Vec<_>, _>>()?;
        let page = Page::of(records, page, |record| record.id.to_string());
        self.note_read(context, ("client_key.list", None), Some(page.data.len())).await;
        Ok(page)
    }

    /// One key; 404 where it is not there or not for the caller's eyes.
    pub async fn client_key(
        &self,
        context: &OpContext,
        key: Uuid,
    ) -> Result<ClientKeyRecord, OperationError> {
        let person = own_user(context)?;
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &key];
        let database = self.inner.operations.database();
        let rows = database.read(context, &[Query::new(ONE, &parameters)]).await?;
        let row = rows.first().and_then(|rows| rows.first());
        let record = row.map(ClientKeyRecord::read).transpose()?;
        let reads_all = self.may(context, Permission::KeyRead);
        let record = record.filter(|record| reads_all || record.user_id == Some(person));
        let shown = record.as_ref().map(|_| 1);
        self.note_read(context, ("client_key.read", Some(key)), shown).await;
        Ok(record.ok_or_else(Refusal::not_found)?)
    }

    /// Ends a key: one's own, or anybody's for whoever may end keys. Ending it twice is ending
    /// it once. Never signed: whoever lost the key ends it with their factor
    /// (`step_up_required`).
    pub async fn revoke_client_key(
        &self,
        context: &OpContext,
        (key, expected_version): (Uuid, Option<i64>),
    ) -> Result<(), OperationError> {
        let person = own_user(context)?;
        self.require_recent_factor_of_people(context).await?;
        if self.may(context, Permission::KeyRevoke) {
            let command = Revoke::<false> { key, person, expected_version };
            self.run_and_forget(context, command, Forgotten::Nothing).await
        } else {
            let command = Revoke::<true> { key, person, expected_version };
            self.run_and_forget(context, command, Forgotten::Nothing).await
        }
    }

    /// A read by somebody of `shown` objects; none where they were shown nothing.
    async fn note_read(
        &self,
        context: &OpContext,
        (action, object): (&'static str, Option<Uuid>),
        shown: Option<usize>,
    ) {
        let (allowed, count) = (shown.is_some(), shown.unwrap_or_default());
        let access = Access { action, resource: RESOURCE, object, allowed, count };
        let operations = &self.inner.operations;
        operations.access_log().record(operations.database(), context, access).await;
    }

    /// Refuses a request that has to be signed and is not, and records that.
    pub async fn refuse_unsigned(&self, context: &OpContext) -> Refusal {
        self.note_read(context, ("signature.require", None), None).await;
        signature_required()
    }

    /// Refuses a signature and records why, which the caller is not told: who forges learns
    /// nothing, and who has mistaken something asks whoever reads the log.
    pub async fn refuse_signature(
        &self,
        context: &OpContext,
        (key, fault): (Option<Uuid>, SignatureFault),
    ) -> OperationError {
        let command = signed::RefuseSignature { key, fault };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        match self.inner.operations.run_one(call).await {
            Ok(_) => {
                Refusal::unauthenticated("signature_invalid", "The signature was not accepted")
                    .into()
            }
            // A session that is over meanwhile, or no database to write it down in.
            Err(error) => error,
        }
    }
}

/// Whether the request came signed.
fn is_signed(context: &OpContext) -> bool {
    context.request.signed_by.is_some()
}

fn signature_required() -> Refusal {
    let detail = "Sign this request with a key of yours (RFC 9421, POST /v1/client-keys)";
    Refusal::unauthenticated("signature_required", detail)
}
