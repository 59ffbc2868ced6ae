//! The closed list of permissions and the kind of object each one acts on.
//!
//! Owns the names only; who holds a permission is the policies' business. A test compares
//! the list with the actions of `policies/schema.cedarschema`, in both directions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text names no permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown permission {0:?}")]
pub struct UnknownPermission(pub String);

macro_rules! resource_kinds {
    ($($(#[$doc:meta])* $variant:ident;)*) => {
        /// What kind of object a permission acts on; each is an entity type of the schema.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ResourceKind {
            $($(#[$doc])* $variant,)*
        }

        impl ResourceKind {
            /// Every kind, in the order of the discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The Cedar entity type, e.g. `Account`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }
        }
    };
}

resource_kinds! {
    /// A login: staff, customer or machine operator; owned by itself.
    User;
    /// A bank customer's record; owned by the login it belongs to.
    Customer;
    /// The tenant's audit log.
    Audit;
    /// A savings account; owned through `account_parties`.
    Account;
    /// A movement. Creating, depositing, withdrawing, charging and listing may be asked of the account
    /// instead; owned means a party to that account (of a transfer: the debited one).
    Transaction;
    /// Money kept back on an account for another one; owned means a party to the account
    /// that it is kept back on, held a party to the one that it is promised to.
    Hold;
    /// A loan or its application.
    Loan;
    /// A report over many records.
    Report;
    /// The tenant's security policy and other settings.
    Settings;
    /// A payment card; owned through its account.
    Card;
    /// A know-your-customer record; owned by its subject.
    Kyc;
    /// A sanctions or adverse-media screening case.
    Screening;
    /// A signing or data key of the tenant, or an API key of one of its machines.
    Key;
    /// A data-protection request.
    Privacy;
    /// The installation itself.
    System;
    /// A tenant; owned means the actor's own tenant.
    Tenant;
    /// An organisation of a credit-risk tenant.
    Organization;
    /// A rated company.
    Company;
    /// A company's financial statement.
    Statement;
    /// A default-probability prediction.
    Prediction;
    /// A scoring model of the registry.
    Model;
    /// A piece of equipment.
    Equipment;
    /// A login session; owned by its user.
    Session;
    /// A second factor; owned by its user.
    Factor;
}

macro_rules! permissions {
    ($($kind:ident { $($variant:ident = $name:literal,)* })*) => {
        /// A permission, named `resource:action` on the wire.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub enum Permission {
            $($(
                #[doc = concat!("`", $name, "`")]
                #[serde(rename = $name)]
                $variant,
            )*)*
        }

        impl Permission {
            /// Every permission, in the order of the discriminants.
            pub const ALL: &'static [Self] = &[$($(Self::$variant),*),*];

            /// The wire name, e.g. `account:read`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($(Self::$variant => $name,)*)*
                }
            }

            /// The kind of object that this permission acts on.
            pub const fn kind(self) -> ResourceKind {
                match self {
                    $($(Self::$variant)|* => ResourceKind::$kind,)*
                }
            }
        }
    };
}

permissions! {
    User {
        UserCreate = "user:create",
        UserRead = "user:read",
        UserUpdate = "user:update",
        UserDelete = "user:delete",
    }
    Customer {
        CustomerCreate = "customer:create",
        CustomerRead = "customer:read",
        CustomerUpdate = "customer:update",
        CustomerLink = "customer:link",
    }
    Audit {
        AuditRead = "audit:read",
    }
    Account {
        AccountCreate = "account:create",
        AccountRead = "account:read",
        AccountUpdate = "account:update",
        AccountDelete = "account:delete",
        AccountApprove = "account:approve",
    }
    Transaction {
        TransactionCreate = "transaction:create",
        TransactionDeposit = "transaction:deposit",
        TransactionWithdraw = "transaction:withdraw",
        TransactionFee = "transaction:fee",
        TransactionPost = "transaction:post",
        TransactionRead = "transaction:read",
        TransactionApprove = "transaction:approve",
        TransactionReverse = "transaction:reverse",
    }
    Hold {
        HoldCreate = "hold:create",
        HoldRead = "hold:read",
        HoldCapture = "hold:capture",
        HoldRelease = "hold:release",
    }
    Loan {
        LoanCreate = "loan:create",
        LoanRead = "loan:read",
        LoanUpdate = "loan:update",
        LoanApprove = "loan:approve",
        LoanDisburse = "loan:disburse",
    }
    Report {
        ReportView = "report:view",
        ReportExport = "report:export",
    }
    Settings {
        SettingsView = "settings:view",
        SettingsUpdate = "settings:update",
    }
    Card {
        CardCreate = "card:create",
        CardRead = "card:read",
        CardUpdate = "card:update",
        CardDelete = "card:delete",
        CardApprove = "card:approve",
        CardFreeze = "card:freeze",
    }
    Kyc {
        KycCreate = "kyc:create",
        KycRead = "kyc:read",
        KycUpdate = "kyc:update",
        KycDelete = "kyc:delete",
        KycApprove = "kyc:approve",
    }
    Screening {
        ScreeningRead = "screening:read",
        ScreeningApprove = "screening:approve",
    }
    Key {
        KeyCreate = "key:create",
        KeyRead = "key:read",
        KeyRotate = "key:rotate",
        KeyRevoke = "key:revoke",
    }
    Privacy {
        PrivacyCreate = "privacy:create",
        PrivacyRead = "privacy:read",
        PrivacyUpdate = "privacy:update",
    }
    System {
        SystemRead = "system:read",
        SystemUpdate = "system:update",
    }
    Tenant {
        TenantCreate = "tenant:create",
        TenantRead = "tenant:read",
        TenantUpdate = "tenant:update",
        TenantDelete = "tenant:delete",
    }
    Organization {
        OrganizationCreate = "organization:create",
        OrganizationRead = "organization:read",
        OrganizationUpdate = "organization:update",
        OrganizationDelete = "organization:delete",
    }
    Company {
        CompanyCreate = "company:create",
        CompanyRead = "company:read",
        CompanyUpdate = "company:update",
        CompanyDelete = "company:delete",
    }
    Statement {
        StatementCreate = "statement:create",
        StatementRead = "statement:read",
        StatementUpdate = "statement:update",
        StatementDelete = "statement:delete",
    }
    Prediction {
        PredictionCreate = "prediction:create",
        PredictionRead = "prediction:read",
        PredictionUpdate = "prediction:update",
        PredictionDelete = "prediction:delete",
    }
    Model {
        ModelCreate = "model:create",
        ModelRead = "model:read",
        ModelUpdate = "model:update",
        ModelApprove = "model:approve",
    }
    Equipment {
        EquipmentCreate = "equipment:create",
        EquipmentRead = "equipment:read",
        EquipmentUpdate = "equipment:update",
        EquipmentDelete = "equipment:delete",
        EquipmentExport = "equipment:export",
    }
    Session {
        SessionRead = "session:read",
        SessionDelete = "session:delete",
        SessionIntrospect = "session:introspect",
    }
    Factor {
        FactorCreate = "factor:create",
        FactorRead = "factor:read",
        FactorDelete = "factor:delete",
    }
}

impl Permission {
    /// Whether the permission may be asked of an object of this kind: its own, or the
    /// account that a movement is made on, that movements are listed of, or that a card is
    /// issued for.
    pub const fn acts_on(self, kind: ResourceKind) -> bool {
        match kind {
            ResourceKind::Account => matches!(
                self,
                Self::AccountCreate
                    | Self::AccountRead
                    | Self::AccountUpdate
                    | Self::AccountDelete
                    | Self::AccountApprove
                    | Self::TransactionCreate
                    | Self::TransactionDeposit
                    | Self::TransactionWithdraw
                    | Self::TransactionFee
                    | Self::TransactionRead
                    | Self::CardCreate
            ),
            other => other as usize == self.kind() as usize,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|permission| permission.as_str() == text)
            .ok_or_else(|| UnknownPermission(text.to_owned()))
    }
}
