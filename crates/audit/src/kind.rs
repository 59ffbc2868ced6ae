//! Owns the closed vocabulary of events: types, severities, outcomes and
//! compliance flags, and the rules that give a type its severity and an event
//! its flags.
//!
//! Refuses to know: single events. A name that is not here does not exist.

use std::fmt;
use std::str::FromStr;

/// How loudly an event asks to be looked at. Follows from [`EventType`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Routine reads, jobs and reports.
    Low,
    /// Ordinary changes.
    Medium,
    /// Access to the system and to other people's rights.
    High,
    /// Something is, or looks, broken into.
    Critical,
}

impl Severity {
    /// Every severity, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// How long records of a type are kept, and so in which partitions of the log they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetentionClass {
    /// Who did what to what: rights, secrets, money, settings, data.
    Security,
    /// Who read what.
    Access,
    /// What the system did of itself, and what only counts.
    System,
}

impl RetentionClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Security, Self::Access, Self::System];

    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Access => "access",
            Self::System => "system",
        }
    }
}

/// A name that stands in none of the closed lists of this module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}: {name:?}")]
pub struct UnknownName {
    /// Which list was asked: `event type`, `severity`, `result` or `compliance flag`.
    pub what: &'static str,
    /// The name that was given.
    pub name: String,
}

impl UnknownName {
    fn new(what: &'static str, name: &str) -> Self {
        Self { what, name: name.to_owned() }
    }
}

macro_rules! event_types {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal, $severity:ident; )*) => {
        /// What happened: a closed list, each with one severity. The names
        /// are the seeds' own where they have one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventType { $( $(#[$doc])* $variant, )* }

        impl EventType {
            /// Every event type, in declaration order.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// The name on the wire and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            /// The one severity of this type.
            pub const fn severity(self) -> Severity {
                match self { $( Self::$variant => Severity::$severity, )* }
            }

            /// How long its records are kept.
            pub const fn retention_class(self) -> RetentionClass {
                match self {
                    Self::ApiAccess | Self::PredictionRequest | Self::DataQuery
                    | Self::ReportGeneration | Self::DataAccess => RetentionClass::Access,
                    Self::RequestFlood | Self::TokenRefresh | Self::KeyUse | Self::JobRun => {
                        RetentionClass::System
                    }
                    _ => RetentionClass::Security,
                }
            }
        }
    };
}

event_types! {
    /// A failed authentication; also written `login_failure`.
    AuthFailure = "auth_failure", Critical;
    /// Somebody gained, or tried to gain, rights that are not theirs.
    PrivilegeEscalation = "privilege_escalation", Critical;
    /// Data is known to have left.
    DataBreach = "data_breach", Critical;
    /// A control was attacked: replayed token, foreign ciphertext, tampering.
    SecurityViolation = "security_violation", Critical;
    /// A successful login; also written `login_success`.
    Login = "login", High;
    /// A session ended by its owner.
    Logout = "logout", High;
    /// A role or permission was granted or withdrawn.
    RoleChange = "role_change", High;
    /// Data left in bulk on request.
    DataExport = "data_export", High;
    /// An authorisation was refused.
    PermissionDenied = "permission_denied", High;
    /// An account was locked after failures.
    AccountLockout = "account_lockout", High;
    /// A password or another credential was changed.
    CredentialChange = "credential_change", High;
    /// Sessions or refresh families were revoked.
    SessionRevocation = "session_revocation", High;
    /// A key was made, rotated, retired or destroyed.
    KeyManagement = "key_management", High;
    /// An operator acted on the system: tenant, import, repair.
    AdminAction = "admin_action", High;
    /// A call on the interface that none of the other names describes.
    ApiAccess = "api_access", Medium;
    /// A default-probability prediction was asked for.
    PredictionRequest = "prediction_request", Medium;
    /// A person was given an account to log in with.
    UserCreation = "user_creation", Medium;
    /// A row was made, changed or removed.
    DataModification = "data_modification", Medium;
    /// Money was moved in the ledger.
    LedgerPosting = "ledger_posting", Medium;
    /// A setting or policy was changed.
    ConfigurationChange = "configuration_change", Medium;
    /// A source of refused requests, counted by minute.
    RequestFlood = "request_flood", Medium;
    /// A list or search was read.
    DataQuery = "data_query", Low;
    /// A report was made.
    ReportGeneration = "report_generation", Low;
    /// One object was read.
    DataAccess = "data_access", Low;
    /// An access token was renewed.
    TokenRefresh = "token_refresh", Low;
    /// A key opened or signed something.
    KeyUse = "key_use", Low;
    /// A scheduled job ran.
    JobRun = "job_run", Low;
}

impl FromStr for EventType {
    type Err = UnknownName;

    /// Accepts the names of [`EventType::as_str`] and the two older spellings
    /// `login_failure` and `login_success`.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "login_failure" => Ok(Self::AuthFailure),
            "login_success" => Ok(Self::Login),
            _ => (Self::ALL.iter().copied().find(|candidate| candidate.as_str() == name))
                .ok_or_else(|| UnknownName::new("event type", name)),
        }
    }
}

impl FromStr for Severity {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        (Self::ALL.into_iter().find(|candidate| candidate.as_str() == name))
            .ok_or_else(|| UnknownName::new("severity", name))
    }
}

/// How the action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Success,
    /// Authorisation refused it; nothing changed.
    Denied,
    /// It was allowed and a rule refused it; nothing changed.
    Failed,
    /// The stored answer of an earlier identical request was given again.
    Replayed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Success, Self::Denied, Self::Failed, Self::Replayed];

    /// The name on the wire and in the database (member and column `result`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Replayed => "replayed",
        }
    }
}

impl FromStr for Outcome {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        (Self::ALL.into_iter().find(|candidate| candidate.as_str() == name))
            .ok_or_else(|| UnknownName::new("result", name))
    }
}

/// A body of rules under which an event will be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComplianceFlag {
    /// A personal field was read or changed.
    Gdpr,
    /// Know-your-customer and anti-money-laundering records.
    KycAml,
    /// Payment cards.
    PciDss,
    /// Ledger, statements and configuration (Sarbanes-Oxley).
    Sox,
}

impl ComplianceFlag {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 4] = [Self::Gdpr, Self::KycAml, Self::PciDss, Self::Sox];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gdpr => "GDPR",
            Self::KycAml => "KYC_AML",
            Self::PciDss => "PCI_DSS",
            Self::Sox => "SOX",
        }
    }

    /// The flags of an event, in the order of their names.
    pub fn by_rule(event_type: EventType, resource_type: &str, personal_fields: bool) -> Vec<Self> {
        let financial =
            matches!(event_type, EventType::LedgerPosting | EventType::ConfigurationChange)
                || matches!(
                    resource_type,
                    "account"
                        | "approval"
                        | "transaction"
                        | "transfer"
                        | "deposit"
                        | "withdrawal"
                        | "fee"
                        | "journal"
                        | "ledger"
                        | "entry"
                        | "hold"
                        | "loan"
                        | "statement"
                        | "financial_statement"
                        | "settings"
                        | "policy"
                        | "policy_change"
                        | "tenant"
                );
        let cards = matches!(resource_type, "card" | "card_token" | "card_authorization");
        let kyc = resource_type == "screening" || resource_type.starts_with("kyc");
        [
            (personal_fields, Self::Gdpr),
            (kyc, Self::KycAml),
            (cards, Self::PciDss),
            (financial, Self::Sox),
        ]
        .into_iter()
        .filter_map(|(applies, flag)| applies.then_some(flag))
        .collect()
    }
}

macro_rules! display_as_str {
    ($($name:ty),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    )* };
}
display_as_str!(EventType, Severity, Outcome, ComplianceFlag);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_type_has_one_name_and_the_severity_of_the_specification() {
        let expected = [
            (
                "critical",
                "auth_failure login_failure privilege_escalation data_breach security_violation",
            ),
            (
                "high",
                "login login_success logout role_change data_export permission_denied account_lockout",
            ),
            ("medium", "api_access prediction_request user_creation data_modification"),
            ("low", "data_query report_generation data_access"),
        ];
        for (severity, names) in expected {
            for name in names.split(' ') {
                let kind: EventType = name.parse().unwrap();
                assert_eq!(kind.severity().as_str(), severity, "{name}");
            }
        }
        for kind in EventType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        assert!("LOGIN".parse::<EventType>().is_err());
    }

    #[test]
    fn flags_follow_from_rules() {
        let cases = [
            (EventType::DataAccess, "customer", true, "GDPR"),
            (EventType::DataAccess, "customer", false, ""),
            (EventType::DataModification, "kyc_document", true, "GDPR KYC_AML"),
            (EventType::DataAccess, "card", false, "PCI_DSS"),
            (EventType::LedgerPosting, "card", false, "PCI_DSS SOX"),
            (EventType::ConfigurationChange, "anything", false, "SOX"),
            (EventType::DataAccess, "account", false, "SOX"),
            (EventType::PermissionDenied, "approval", false, "SOX"),
            (EventType::DataAccess, "journal", false, "SOX"),
            (EventType::JobRun, "ledger", false, "SOX"),
            (EventType::ApiAccess, "fee", false, "SOX"),
            (EventType::DataQuery, "policy_change", false, "SOX"),
            (EventType::DataQuery, "audit_event", true, "GDPR"),
        ];
        for (kind, resource, personal, expected) in cases {
            let flags = ComplianceFlag::by_rule(kind, resource, personal);
            let names: Vec<_> = flags.iter().map(|flag| flag.as_str()).collect();
            assert_eq!(names.join(" "), expected, "{kind} {resource}");
        }
    }
}
