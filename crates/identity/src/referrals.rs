//! Whom a person has recommended the bank to, without anything personal of them.
//!
//! Refuses to know how a code was taken: that is the making of a user.

use jiff::Timestamp;
use operation::{OperationError, Page, PageRequest, access_log::Access};
use tenancy::{DbError, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{
    Identity,
    sessions::{after_of, own_user},
};

const REFERRALS: &str = tenancy::sql!("identity/one_time.sql", "referrals");

/// Somebody who gave the caller's referral code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referral {
    /// The user's id.
    pub id: Uuid,
    /// Whether they may sign in.
    pub is_active: bool,
    /// When they came.
    pub created_at: Timestamp,
}

impl Identity {
    /// The caller's own referrals, newest first.
    pub async fn referrals(
        &self,
        context: &OpContext,
        page: &PageRequest,
    ) -> Result<Page<Referral>, OperationError> {
        let after = after_of(page)?;
        let (tenant, user, fetch) = (context.tenant_id(), own_user(context)?, page.fetch());
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &user, &after, &fetch];
        let database = self.inner.operations.database();
        let rows = database.read(context, &[Query::new(REFERRALS, &parameters)]).await?;
        let referral = |row: &tokio_postgres::Row| {
            Ok(Referral {
                id: row.try_get("id")?,
                is_active: row.try_get("is_active")?,
                created_at: row.try_get("created_at")?,
            })
        };
        let referrals = (rows.iter().flatten())
            .map(referral)
            .collect::<Result<Vec<_>, tokio_postgres::Error>>()
            .map_err(DbError::from)?;
        let page = Page::of(referrals, page, |referral| referral.id.to_string());
        let access = Access {
            action: "referral.list",
            resource: "user",
            object: None,
            allowed: true,
            count: page.data.len(),
        };
        self.inner.operations.access_log().record(database, context, access).await;
        Ok(page)
    }
}
