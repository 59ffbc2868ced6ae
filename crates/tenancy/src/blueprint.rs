//! The named sets of modules, roles and policy values that tenants are created from.

use std::{fmt, str::FromStr};

/// What a tenant is created from. The wire name is kebab-case (`core-bank`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Blueprint {
    /// Staff and customers, savings accounts, transfers, approvals (seed 000).
    CoreBank,
    /// The equipment register (seed 001).
    EquipmentErp,
    /// On-boarding, factors, KYC (seed 002).
    DigitalBank,
    /// Accounts, cards, fraud monitoring (seed 003).
    CardBank,
    /// Corporate default-risk prediction (seed 004).
    CreditRisk,
    /// The strictest value of every row.
    Standard,
    /// The reserved tenant that owns operators and tenantless audit events.
    Platform,
}

/// A name that is none of the blueprints.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a blueprint; known are core-bank, equipment-erp, digital-bank, card-bank, credit-risk, standard"
)]
pub struct UnknownBlueprint(pub String);

const BANK_ROLES: &[&str] =
    &["super_admin", "admin", "manager", "officer", "customer_service", "auditor", "customer"];

impl Blueprint {
    /// Every blueprint, the reserved platform last.
    pub const ALL: [Blueprint; 7] = [
        Self::CoreBank,
        Self::EquipmentErp,
        Self::DigitalBank,
        Self::CardBank,
        Self::CreditRisk,
        Self::Standard,
        Self::Platform,
    ];

    /// The wire and database name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CoreBank => "core-bank",
            Self::EquipmentErp => "equipment-erp",
            Self::DigitalBank => "digital-bank",
            Self::CardBank => "card-bank",
            Self::CreditRisk => "credit-risk",
            Self::Standard => "standard",
            Self::Platform => "platform",
        }
    }

    /// The modules that a tenant of this blueprint starts with. A route of a
    /// module that is not listed answers `module_not_enabled`.
    pub const fn modules(self) -> &'static [&'static str] {
        match self {
            Self::CoreBank => &["identity", "audit", "banking"],
            _ => &["identity", "audit"],
        }
    }

    /// The roles assignable in a tenant of this blueprint, the mightiest first.
    pub const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::CoreBank | Self::Standard => BANK_ROLES,
            Self::EquipmentErp => &["super_admin", "admin", "manager", "operator", "viewer"],
            Self::DigitalBank => &["admin", "compliance_officer", "support", "customer"],
            Self::CardBank => &["admin", "support", "customer"],
            Self::CreditRisk => &["super_admin", "tenant_admin", "org_admin", "org_member", "user"],
            Self::Platform => &["super_admin", "operator", "auditor"],
        }
    }

    /// Whether `role` is assignable in a tenant of this blueprint.
    pub fn has_role(self, role: &str) -> bool {
        self.roles().contains(&role)
    }
}

impl fmt::Display for Blueprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Blueprint {
    type Err = UnknownBlueprint;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|blueprint| blueprint.as_str() == name)
            .ok_or_else(|| UnknownBlueprint(name.to_owned()))
    }
}
