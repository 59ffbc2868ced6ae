//! Audit events, proofs and checkpoints on the wire.

use audit::{
    note::NoteVerifier,
    portable::{PortableCheckpoint, PortableHead, PortableInclusion, PortableSuper},
    proof::{ConsistencyProof, StoredCheckpoint},
    query::StoredEvent,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, instant};
use crate::openapi_parts::Example;

/// One record of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub(crate) struct Event {
    /// Its id; ids are in the order of time.
    pub(crate) id: Uuid,
    /// One of the closed list of event types.
    pub(crate) event_type: String,
    /// `low`, `medium`, `high` or `critical`.
    pub(crate) severity: String,
    /// The command's or view's name.
    pub(crate) action: String,
    /// `success`, `denied`, `failed` or `replayed`.
    pub(crate) result: String,
    /// `user`, `api_key`, `worker`, `cli` or `anonymous`.
    pub(crate) actor_kind: String,
    /// The acting user.
    pub(crate) user_id: Option<Uuid>,
    /// The session of the request.
    pub(crate) session_id: Option<Uuid>,
    /// The organisation acted in.
    pub(crate) organization_id: Option<Uuid>,
    /// The kind of object acted on.
    pub(crate) resource_type: String,
    /// The object acted on.
    pub(crate) resource_id: Option<Uuid>,
    /// Values before: ids and unsealed fields only.
    #[schema(value_type = Option<Object>)]
    pub(crate) old_values: Option<Value>,
    /// Values after: ids and unsealed fields only.
    #[schema(value_type = Option<Object>)]
    pub(crate) new_values: Option<Value>,
    /// Anything else.
    #[schema(value_type = Option<Object>)]
    pub(crate) details: Option<Value>,
    /// The client's address.
    pub(crate) ip_address: Option<String>,
    /// The client's user agent.
    pub(crate) user_agent: Option<String>,
    /// The request's id.
    pub(crate) request_id: Option<String>,
    /// The rules it falls under: `GDPR`, `SOX`, `PCI_DSS`, `KYC_AML`.
    pub(crate) compliance_flags: Vec<String>,
    /// Its place in the tenant's log; null for the moment until it is sealed.
    pub(crate) log_index: Option<i64>,
    /// When it happened.
    pub(crate) occurred_at: String,
    /// The same instant under the name that every object has.
    pub(crate) created_at: String,
}

impl From<StoredEvent> for Event {
    fn from(event: StoredEvent) -> Self {
        let at = instant(event.occurred_at);
        Self {
            id: event.event_id,
            event_type: event.event_type,
            severity: event.severity,
            action: event.action,
            result: event.result,
            actor_kind: event.actor_kind,
            user_id: event.user_id,
            session_id: event.session_id,
            organization_id: event.organization_id,
            resource_type: event.resource_type,
            resource_id: event.resource_id,
            old_values: event.old_values,
            new_values: event.new_values,
            details: event.details,
            ip_address: event.ip_address,
            user_agent: event.user_agent,
            request_id: event.request_id,
            compliance_flags: event.compliance_flags,
            log_index: event.log_index,
            occurred_at: at.clone(),
            created_at: at,
        }
    }
}

impl Example for Event {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            event_type: "login".to_owned(),
            severity: "high".to_owned(),
            action: "auth.login".to_owned(),
            result: "success".to_owned(),
            actor_kind: "user".to_owned(),
            user_id: Some(EXAMPLE_ID),
            session_id: Some(EXAMPLE_ID),
            organization_id: None,
            resource_type: "session".to_owned(),
            resource_id: Some(EXAMPLE_ID),
            old_values: None,
            new_values: None,
            details: Some(json!({ "method": "password" })),
            ip_address: Some("192.0.2.7".to_owned()),
            user_agent: Some("curl/8.14".to_owned()),
            request_id: Some("0192e4c8-7f3a-7c1e-9b1f-3f1d2c4b5a69".to_owned()),
            compliance_flags: Vec::new(),
            log_index: Some(41),
            occurred_at: EXAMPLE_INSTANT.to_owned(),
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// A signed tree head of the tenant's log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checkpoint {
    /// Leaves in the tree; also its name in `from` and `to`.
    pub(crate) tree_size: u64,
    /// The root (RFC 6962), base64.
    pub(crate) root_hash: String,
    /// The C2SP signed note, ready for a verifier.
    pub(crate) note: String,
    /// When it was signed, by our clock.
    pub(crate) created_at: String,
}

impl From<StoredCheckpoint> for Checkpoint {
    fn from(checkpoint: StoredCheckpoint) -> Self {
        Self {
            tree_size: checkpoint.tree_size,
            root_hash: STANDARD.encode(checkpoint.root_hash),
            note: checkpoint.note,
            created_at: instant(checkpoint.signed_at),
        }
    }
}

impl Example for Checkpoint {
    fn example() -> Self {
        let root = STANDARD.encode([7; 32]);
        let signature = STANDARD.encode([9; 68]);
        let origin = format!("strongroom/audit/{EXAMPLE_ID}");
        Self {
            tree_size: 42,
            note: format!("{origin}\n42\n{root}\n\n\u{2014} {origin} {signature}\n"),
            root_hash: root,
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// The checkpoints of a log with the keys that verify them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checkpoints {
    /// Newest first.
    pub(crate) data: Vec<Checkpoint>,
    /// Pass it as `cursor` for the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
    /// Ed25519 verifier keys in the C2SP form `name+hash+key`, oldest first.
    pub(crate) verifier_keys: Vec<String>,
}

impl Checkpoints {
    pub(crate) fn of(
        data: Vec<StoredCheckpoint>,
        next_cursor: Option<String>,
        keys: &[NoteVerifier],
    ) -> Self {
        Self {
            data: data.into_iter().map(Checkpoint::from).collect(),
            next_cursor,
            verifier_keys: keys.iter().map(NoteVerifier::to_text).collect(),
        }
    }
}

impl Example for Checkpoints {
    fn example() -> Self {
        let key = NoteVerifier::new(&format!("strongroom/audit/{EXAMPLE_ID}"), [3; 32]);
        Self {
            data: vec![Checkpoint::example()],
            next_cursor: None,
            verifier_keys: key.iter().map(NoteVerifier::to_text).collect(),
        }
    }
}

/// That one event stands in the log: everything a verifier needs beside a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InclusionProof)]
pub(crate) struct Inclusion {
    /// Whose log it is; the name of its keys follows from it.
    pub(crate) tenant_id: Uuid,
    /// The event.
    pub(crate) event_id: Uuid,
    /// The exact record, a text: hash these bytes and not a reformatted copy.
    pub(crate) record: String,
    /// `SHA-256(0x00 ‖ record)`, base64.
    pub(crate) leaf_hash: String,
    /// Its place, from 0.
    pub(crate) log_index: u64,
    /// The audit path (RFC 6962 section 2.1.1), base64, from the leaf upwards.
    pub(crate) hashes: Vec<String>,
    /// The signed tree head that the path leads to.
    pub(crate) checkpoint: Checkpoint,
    /// The log's verifier keys, oldest first. A proof is as good as the way its keys came:
    /// hold them against those that you have from elsewhere.
    pub(crate) verifier_keys: Vec<String>,
    /// From there into the log over all tenants' logs, which witnesses cosign; absent for what
    /// was signed before there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) super_log: Option<SuperInclusion>,
}

/// That a checkpoint of the tenant's log is a leaf of the log over all tenants' logs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SuperInclusionProof)]
pub(crate) struct SuperInclusion {
    /// The leaf's place, from 0. The leaf is `SHA-256(0x00 ‖ note)` of the tenant's checkpoint.
    pub(crate) log_index: u64,
    /// The audit path (RFC 6962 section 2.1.1), base64, from the leaf upwards.
    pub(crate) hashes: Vec<String>,
    /// The signed tree head that the path leads to.
    pub(crate) checkpoint: Checkpoint,
    /// The signature lines of witnesses over it (C2SP `cosignature/v1`), each without its newline.
    pub(crate) cosignatures: Vec<String>,
    /// The verifier keys of the log over all tenants' logs, oldest first.
    pub(crate) verifier_keys: Vec<String>,
}

impl From<PortableSuper> for SuperInclusion {
    fn from(proof: PortableSuper) -> Self {
        Self {
            log_index: proof.log_index,
            hashes: proof.hashes,
            checkpoint: proof.checkpoint.into(),
            cosignatures: proof.cosignatures,
            verifier_keys: proof.verifier_keys,
        }
    }
}

impl From<PortableCheckpoint> for Checkpoint {
    fn from(checkpoint: PortableCheckpoint) -> Self {
        let PortableCheckpoint { tree_size, root_hash, note, created_at } = checkpoint;
        Self { tree_size, root_hash, note, created_at: instant(created_at) }
    }
}

/// A signed head of the log over all tenants' logs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SuperCheckpoint)]
pub(crate) struct SuperHead {
    /// The head: of the last quarter of an hour the one that most witnesses cosigned, else the
    /// newest.
    pub(crate) checkpoint: Checkpoint,
    /// The signature lines of witnesses over it (C2SP `cosignature/v1`), each without its newline:
    /// behind the note they make the note that witnesses' keys verify.
    pub(crate) cosignatures: Vec<String>,
    /// Ed25519 verifier keys in the C2SP form `name+hash+key`, oldest first.
    pub(crate) verifier_keys: Vec<String>,
}

impl From<PortableHead> for SuperHead {
    fn from(head: PortableHead) -> Self {
        Self {
            checkpoint: head.checkpoint.into(),
            cosignatures: head.cosignatures,
            verifier_keys: head.verifier_keys,
        }
    }
}

impl Example for SuperHead {
    fn example() -> Self {
        let (root, origin) = (STANDARD.encode([7; 32]), format!("strongroom/super/{EXAMPLE_ID}"));
        let (signature, cosignature) = (STANDARD.encode([9; 68]), STANDARD.encode([9; 76]));
        let key = NoteVerifier::new(&origin, [3; 32]);
        Self {
            checkpoint: Checkpoint {
                tree_size: 42,
                note: format!("{origin}\n42\n{root}\n\n\u{2014} {origin} {signature}\n"),
                root_hash: root,
                created_at: EXAMPLE_INSTANT.to_owned(),
            },
            cosignatures: vec![format!("\u{2014} witness.example/w1 {cosignature}")],
            verifier_keys: key.iter().map(NoteVerifier::to_text).collect(),
        }
    }
}

impl From<PortableInclusion> for Inclusion {
    fn from(proof: PortableInclusion) -> Self {
        Self {
            tenant_id: proof.tenant_id,
            event_id: proof.event_id,
            record: proof.record,
            leaf_hash: proof.leaf_hash,
            log_index: proof.log_index,
            hashes: proof.hashes,
            checkpoint: proof.checkpoint.into(),
            verifier_keys: proof.verifier_keys,
            super_log: proof.super_log.map(SuperInclusion::from),
        }
    }
}

impl Example for Inclusion {
    fn example() -> Self {
        Self {
            tenant_id: EXAMPLE_ID,
            event_id: EXAMPLE_ID,
            record: format!(r#"{{"action":"auth.login","event_id":"{EXAMPLE_ID}"}}"#),
            leaf_hash: STANDARD.encode([1; 32]),
            log_index: 41,
            hashes: vec![STANDARD.encode([2; 32])],
            checkpoint: Checkpoint::example(),
            verifier_keys: Checkpoints::example().verifier_keys,
            super_log: Some(SuperInclusion {
                log_index: 40,
                hashes: vec![STANDARD.encode([5; 32])],
                checkpoint: SuperHead::example().checkpoint,
                cosignatures: SuperHead::example().cosignatures,
                verifier_keys: SuperHead::example().verifier_keys,
            }),
        }
    }
}

/// That a log extends an earlier state of itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsistencyProof)]
pub(crate) struct Consistency {
    /// The earlier size.
    pub(crate) from: u64,
    /// The later size.
    pub(crate) to: u64,
    /// The proof (RFC 6962 section 2.1.2), base64.
    pub(crate) hashes: Vec<String>,
}

impl From<ConsistencyProof> for Consistency {
    fn from(proof: ConsistencyProof) -> Self {
        Self {
            from: proof.first_size,
            to: proof.second_size,
            hashes: proof.hashes.iter().map(|hash| STANDARD.encode(hash)).collect(),
        }
    }
}

impl Example for Consistency {
    fn example() -> Self {
        Self { from: 40, to: 42, hashes: vec![STANDARD.encode([4; 32])] }
    }
}
