//! The hash that is approved.
//!
//! What is hashed is more than the order: tenant, approval, what it is about, maker and both
//! instants stand beside it, so that an order moved into another row, given to another maker
//! or kept alive beyond its time is another order.

use audit::canonical;
use jiff::Timestamp;
use serde_json::{Value, json};
use tenancy::DbError;
use uuid::Uuid;

use crate::{Approval, hexadecimal};

/// What an order is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Whose it is.
    pub tenant_id: Uuid,
    /// The row that it stands in.
    pub approval_id: Uuid,
    /// What sort of order.
    pub kind: &'static str,
    /// What it is about.
    pub object_id: Uuid,
    /// Who has ordered it.
    pub requested_by: Uuid,
    /// When.
    pub requested_at: Timestamp,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
    /// How many others have to agree.
    pub required: i16,
}

impl Binding {
    /// Whether every byte of an approval's order, and what stands beside it, is what its
    /// maker has ordered.
    pub fn holds(tenant: Uuid, approval: &Approval) -> bool {
        let hash = Self::of(tenant, approval).hash(&approval.payload);
        hash.is_ok_and(|hash| hexadecimal(&hash) == approval.payload_hash)
    }

    /// What an approval is bound to.
    pub fn of(tenant_id: Uuid, approval: &Approval) -> Self {
        Self {
            tenant_id,
            approval_id: approval.id,
            kind: approval.kind.as_str(),
            object_id: approval.object_id,
            requested_by: approval.requested_by,
            requested_at: approval.requested_at,
            expires_at: approval.expires_at,
            required: approval.required,
        }
    }

    /// SHA-256 over the canonical JSON (RFC 8785) of an order and this.
    pub fn hash(&self, payload: &Value) -> Result<[u8; 32], DbError> {
        // To the microsecond, as the database keeps them.
        let mut whole = json!({
            "tenant_id": self.tenant_id,
            "approval_id": self.approval_id,
            "kind": self.kind,
            "object_id": self.object_id,
            "requested_by": self.requested_by,
            "requested_at": format!("{:.6}", self.requested_at),
            "expires_at": format!("{:.6}", self.expires_at),
            "payload": payload,
        });
        // Orders from before there was a choice need one, and their hashes say nothing of it.
        if self.required != 1 {
            whole["required"] = json!(self.required);
        }
        let bytes =
            canonical::to_vec(&whole).map_err(|error| DbError::Corrupt(error.to_string()))?;
        Ok(vault::primitives::sha256(&bytes))
    }
}
