//! Keys that seal and wrap on the wire.

use operation::{
    InventoryLine, KeyDestroyed, KeyGeneration, KeyRotation, KeysRewrapped, ResealingProgress,
};
use serde::{Deserialize, Serialize};
use tenancy::keyring::Rotatable;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, instant};
use crate::openapi_parts::Example;

/// A key that has generations.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DataKeyPurpose {
    /// Wraps the keys that sign and verify.
    TenantKek,
    /// Wraps the keys of people, of sealed fields and of blind indexes.
    FieldKek,
    /// Seals what belongs to no person.
    FieldData,
    /// Makes the blind indexes by which sealed values are found.
    BlindIndex,
}

impl From<DataKeyPurpose> for Rotatable {
    fn from(purpose: DataKeyPurpose) -> Self {
        match purpose {
            DataKeyPurpose::TenantKek => Self::TenantKek,
            DataKeyPurpose::FieldKek => Self::FieldKek,
            DataKeyPurpose::FieldData => Self::FieldData,
            DataKeyPurpose::BlindIndex => Self::BlindIndex,
        }
    }
}

/// Which key gets one generation more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateDataKey {
    /// The key.
    pub(crate) purpose: DataKeyPurpose,
}

/// Which generation ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestroyDataKey {
    /// The key.
    pub(crate) purpose: DataKeyPurpose,
    /// Its generation.
    #[schema(minimum = 1)]
    pub(crate) epoch: i32,
}

/// A generation of a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct DataKey {
    /// `tenant_kek`, `field_kek`, `field_data` or `blind_index`.
    purpose: String,
    /// Its number.
    epoch: i32,
    /// Its id, as headers of sealed values name it.
    key_id: Uuid,
    /// `active`, `retired` or `destroyed`.
    status: String,
    /// How many keys it wraps still; null where it seals values.
    wrapped_keys: Option<i64>,
    /// Since when nothing new is sealed or wrapped by it.
    retired_at: Option<String>,
    /// Since when it opens nothing.
    destroyed_at: Option<String>,
    /// When it was made.
    created_at: String,
}

impl From<KeyGeneration> for DataKey {
    fn from(key: KeyGeneration) -> Self {
        Self {
            purpose: key.purpose,
            epoch: key.epoch,
            key_id: key.key_id,
            status: key.status,
            wrapped_keys: key.wrapped_keys,
            retired_at: key.retired_at.map(instant),
            destroyed_at: key.destroyed_at.map(instant),
            created_at: instant(key.created_at),
        }
    }
}

impl Example for DataKey {
    fn example() -> Self {
        Self {
            purpose: "field_kek".to_owned(),
            epoch: 2,
            key_id: EXAMPLE_ID,
            status: "active".to_owned(),
            wrapped_keys: Some(1204),
            retired_at: None,
            destroyed_at: None,
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// A generation that seals or wraps from now on.
#[derive(Serialize, ToSchema)]
pub(crate) struct DataKeyRotated {
    /// The key.
    purpose: String,
    /// The generation.
    epoch: u32,
    /// Its id, as headers of sealed values name it.
    key_id: Uuid,
}

impl From<KeyRotation> for DataKeyRotated {
    fn from(made: KeyRotation) -> Self {
        Self { purpose: made.purpose, epoch: made.epoch, key_id: made.key_id }
    }
}

impl Example for DataKeyRotated {
    fn example() -> Self {
        Self { purpose: "field_kek".to_owned(), epoch: 3, key_id: EXAMPLE_ID }
    }
}

/// How many keys the newest KEKs wrap now that older ones wrapped before.
#[derive(Serialize, ToSchema)]
pub(crate) struct DataKeysRewrapped {
    /// The tenant's data, index and MAC keys.
    data_keys: usize,
    /// Keys of people.
    subject_keys: usize,
    /// Keys that sign the audit log.
    log_keys: usize,
}

impl From<KeysRewrapped> for DataKeysRewrapped {
    fn from(done: KeysRewrapped) -> Self {
        Self { data_keys: done.data_keys, subject_keys: done.subject_keys, log_keys: done.log_keys }
    }
}

impl Example for DataKeysRewrapped {
    fn example() -> Self {
        Self { data_keys: 4, subject_keys: 1200, log_keys: 1 }
    }
}

/// A generation that is destroyed.
#[derive(Serialize, ToSchema)]
pub(crate) struct DataKeyDestroyed {
    /// The key.
    purpose: String,
    /// The generation.
    epoch: i32,
    /// `destroyed`.
    status: String,
}

impl From<KeyDestroyed> for DataKeyDestroyed {
    fn from(ended: KeyDestroyed) -> Self {
        Self { purpose: ended.purpose, epoch: ended.epoch, status: ended.status }
    }
}

impl Example for DataKeyDestroyed {
    fn example() -> Self {
        Self { purpose: "field_kek".to_owned(), epoch: 1, status: "destroyed".to_owned() }
    }
}

/// What stands in one column under one generation of keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct SealedValues {
    /// The table.
    table: String,
    /// The sealed column.
    column: String,
    /// What the keys are for; `unknown` where a header names a key that the tenant has not.
    purpose: String,
    /// Their generation; of keys of people, that of the KEK which wraps them.
    epoch: Option<i32>,
    /// `active`, `retired`, `destroyed` (closed for good) or `unknown`.
    status: String,
    /// How many keys.
    keys: i64,
    /// How many values.
    values: i64,
    /// How far the column is sealed anew; only where values of the tenant's own are, and their
    /// key was rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    resealing: Option<Resealing>,
}

/// How far a column is sealed anew by the newest key.
#[derive(Serialize, ToSchema)]
pub(crate) struct Resealing {
    /// The generation of the newest key.
    to_epoch: i32,
    /// `running`, `waiting` for nodes that may still seal under the key before, `verifying`
    /// that none did, or `done`.
    state: String,
    /// Values sealed anew.
    done: i64,
    /// Values that were to be sealed anew.
    total: i64,
    /// Values that could not be opened, and stay as they are.
    skipped: i64,
}

impl From<ResealingProgress> for Resealing {
    fn from(progress: ResealingProgress) -> Self {
        Self {
            to_epoch: progress.to_epoch,
            state: progress.state,
            done: progress.done,
            total: progress.total,
            skipped: progress.skipped,
        }
    }
}

impl From<InventoryLine> for SealedValues {
    fn from(line: InventoryLine) -> Self {
        Self {
            table: line.table,
            column: line.column,
            purpose: line.purpose,
            epoch: line.epoch,
            status: line.status,
            keys: line.keys,
            values: line.values,
            resealing: line.resealing.map(Resealing::from),
        }
    }
}

impl Example for SealedValues {
    fn example() -> Self {
        Self {
            table: "customers".to_owned(),
            column: "email_sealed".to_owned(),
            purpose: "subject_data".to_owned(),
            epoch: Some(2),
            status: "active".to_owned(),
            keys: 1200,
            values: 1200,
            resealing: None,
        }
    }
}
