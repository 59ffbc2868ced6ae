//! Roles on the wire.

use access::RoleDefinition;
use identity::{RoleRecord, RoleType as StoredType};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, instant};
use crate::openapi_parts::Example;

/// A role of the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Role {
    /// Its id.
    id: Uuid,
    /// By which people hold it.
    name: String,
    /// Whether it is the blueprint's or the tenant's own.
    role_type: RoleType,
    /// What it may do.
    permissions: Vec<RolePermission>,
    /// How many people hold it.
    holders: i64,
    /// Counts changes; its `ETag`.
    version: i64,
    /// When it was made.
    created_at: String,
    /// When it last changed.
    updated_at: String,
}

/// Whose a role is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleType {
    /// The blueprint's.
    System,
    /// The tenant's own.
    Custom,
}

/// One permission of a role.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolePermission {
    /// `resource:action[:scope]`, `*` for every action of the resource.
    permission: String,
    /// What it demands beside its scope.
    #[serde(default)]
    conditions: RoleConditions,
}

/// What a permission demands beside its scope: all of it together.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RoleConditions {
    /// Only what the actor is a party to, the subject or the owner of: the scope `own`.
    owner_only: bool,
    /// Only what belongs to the actor's department.
    department: bool,
    /// Up to this amount, in this currency and no other; of movements that name their currency.
    amount_max: Option<AmountMax>,
    /// Only at these hours of these days.
    business_hours: Option<BusinessHours>,
    /// Only from one of these networks; from anywhere where there is none.
    networks: Vec<String>,
    /// How well the session's owner is known at least: 1 by two factors, 2 by a passkey.
    mfa_level: Option<u8>,
    /// Only while the account is `active`, `frozen` or `closed`; in any state where none is named.
    account_status: Vec<String>,
}

/// A ceiling for one movement.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AmountMax {
    /// In minor units.
    amount: i64,
    /// ISO 4217.
    currency: String,
}

/// A stretch of some days of the week.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BusinessHours {
    /// IANA name.
    time_zone: String,
    /// On which days.
    days: Vec<Day>,
    /// `HH:MM`, included.
    from: String,
    /// `HH:MM`, not included any more; `24:00` is the end of the day.
    to: String,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// What a new role shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateRole {
    /// Small letters and underscores; not the name of a system role of any blueprint.
    name: String,
    /// 1 to 64 of them, each `*` counted as what it stands for; they are kept spelled out.
    permissions: Vec<RolePermission>,
}

/// What a role shall do from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeRole {
    /// Instead of those that it has.
    permissions: Vec<RolePermission>,
}

impl From<RoleRecord> for Role {
    fn from(role: RoleRecord) -> Self {
        Self {
            id: role.id,
            name: role.name,
            role_type: match role.role_type {
                StoredType::System => RoleType::System,
                StoredType::Custom => RoleType::Custom,
            },
            permissions: role.permissions.into_iter().map(RolePermission::from).collect(),
            holders: role.holders,
            version: role.version,
            created_at: instant(role.created_at),
            updated_at: instant(role.updated_at),
        }
    }
}

impl From<access::RolePermission> for RolePermission {
    fn from(granted: access::RolePermission) -> Self {
        let conditions = granted.conditions;
        Self {
            permission: granted.permission,
            conditions: RoleConditions {
                owner_only: conditions.owner_only,
                department: conditions.department,
                amount_max: conditions.amount_max.map(|max| {
                    let access::AmountMax { amount, currency } = max;
                    AmountMax { amount, currency }
                }),
                business_hours: conditions.business_hours.map(BusinessHours::from),
                networks: conditions.networks,
                mfa_level: conditions.mfa_level,
                account_status: conditions.account_status,
            },
        }
    }
}

impl From<RolePermission> for access::RolePermission {
    fn from(wanted: RolePermission) -> Self {
        let conditions = wanted.conditions;
        Self {
            permission: wanted.permission,
            conditions: access::Conditions {
                owner_only: conditions.owner_only,
                department: conditions.department,
                amount_max: conditions.amount_max.map(|max| {
                    let AmountMax { amount, currency } = max;
                    access::AmountMax { amount, currency }
                }),
                business_hours: conditions.business_hours.map(access::BusinessHours::from),
                networks: conditions.networks,
                mfa_level: conditions.mfa_level,
                account_status: conditions.account_status,
            },
        }
    }
}

impl From<access::BusinessHours> for BusinessHours {
    fn from(hours: access::BusinessHours) -> Self {
        let access::BusinessHours { time_zone, days, from, to } = hours;
        Self { time_zone, days: days.into_iter().map(Day::from).collect(), from, to }
    }
}

impl From<BusinessHours> for access::BusinessHours {
    fn from(hours: BusinessHours) -> Self {
        let BusinessHours { time_zone, days, from, to } = hours;
        Self { time_zone, days: days.into_iter().map(access::Day::from).collect(), from, to }
    }
}

macro_rules! same_days {
    ($($day:ident)*) => {
        impl From<access::Day> for Day {
            fn from(day: access::Day) -> Self {
                match day { $(access::Day::$day => Self::$day,)* }
            }
        }

        impl From<Day> for access::Day {
            fn from(day: Day) -> Self {
                match day { $(Day::$day => Self::$day,)* }
            }
        }
    };
}
same_days!(Mon Tue Wed Thu Fri Sat Sun);

impl From<CreateRole> for RoleDefinition {
    fn from(new: CreateRole) -> Self {
        Self {
            name: new.name,
            permissions: new.permissions.into_iter().map(access::RolePermission::from).collect(),
        }
    }
}

impl From<ChangeRole> for Vec<access::RolePermission> {
    fn from(change: ChangeRole) -> Self {
        change.permissions.into_iter().map(access::RolePermission::from).collect()
    }
}

impl Example for Role {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            name: "night_desk".to_owned(),
            role_type: RoleType::Custom,
            permissions: vec![RolePermission {
                permission: "transaction:deposit".to_owned(),
                conditions: RoleConditions {
                    amount_max: Some(AmountMax { amount: 100_000, currency: "EUR".to_owned() }),
                    mfa_level: Some(1),
                    ..RoleConditions::default()
                },
            }],
            holders: 3,
            version: 1,
            created_at: EXAMPLE_INSTANT.to_owned(),
            updated_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}
