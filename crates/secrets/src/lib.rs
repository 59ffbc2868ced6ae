//! Secret managers: a reference is read, its store is asked, and what it keeps is handed over.
//! AWS (Secrets Manager, KMS) is behind the feature `aws`, Azure Key Vault behind `azure`; a
//! reference to a store that was not built in is refused by the feature's name.
//!
//! Refuses to know what the secrets are for, and never repeats what a store answered.

#[cfg(feature = "asking")]
mod ask;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
mod reference;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

pub use reference::{Malformed, Reference};

/// Why a reference led to nothing; completes "is `aws-sm://name`, which …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This binary has no such store.
    #[error("needs a binary built with the feature `{0}`")]
    NotBuilt(&'static str),
    /// This command works without secrets.
    #[error("is not looked up by this command")]
    NotAsked,
    /// Nothing, or half of what is needed, says who asks.
    #[error("needs credentials: {0}")]
    NoCredentials(&'static str),
    /// Nothing says where.
    #[error("needs a region: set AWS_REGION")]
    NoRegion,
    /// The store's address is of no use.
    #[error(
        "cannot be asked for: {0} must be an https address without a path, or http on this machine"
    )]
    Endpoint(&'static str),
    /// There was no answer.
    #[error("cannot be asked for: {0} ({1})")]
    Unreached(&'static str, &'static str),
    /// The credentials are wrong, or not allowed this.
    #[error("may not be read with these credentials")]
    Denied,
    /// There is none.
    #[error("is not there")]
    NotFound,
    /// The key management service cannot open it.
    #[error("is no ciphertext that the service can open")]
    NoCiphertext,
    /// The member is not there, or no text.
    #[error("has no such member of text")]
    NoMember,
    /// Another refusal.
    #[error("was refused (status {0})")]
    Refused(u16),
    /// The answer is none, or over 16 KiB.
    #[error("was answered with what cannot be read")]
    Unreadable,
}

/// The stores, as the environment describes them.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    /// The process environment: credentials, regions, addresses.
    pub environment: &'a BTreeMap<String, String>,
    /// The time that requests are signed at.
    pub now: jiff::Timestamp,
}

impl std::fmt::Debug for Stores<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stores").finish_non_exhaustive()
    }
}

impl Stores<'_> {
    /// What a reference leads to. It waits, half a minute at most: nothing can be started without.
    pub fn fetch(&self, reference: &Reference) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        match reference {
            Reference::AwsSecret { .. } | Reference::AwsKms { .. } => of_aws(self, reference),
            Reference::AzureSecret { .. } => of_azure(self, reference),
        }
    }

    /// A variable that is set, and to something.
    #[cfg(feature = "asking")]
    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }
}

#[cfg(feature = "aws")]
fn of_aws(stores: &Stores<'_>, reference: &Reference) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    ask::waited_for(aws::fetch(stores, reference))
}

#[cfg(not(feature = "aws"))]
fn of_aws(_: &Stores<'_>, _: &Reference) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    Err(Refusal::NotBuilt("aws"))
}

#[cfg(feature = "azure")]
fn of_azure(stores: &Stores<'_>, reference: &Reference) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    ask::waited_for(azure::fetch(stores, reference))
}

#[cfg(not(feature = "azure"))]
fn of_azure(_: &Stores<'_>, _: &Reference) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    Err(Refusal::NotBuilt("azure"))
}

#[cfg(all(test, not(feature = "asking")))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_was_not_built_in_is_refused_by_its_feature() {
        let environment = BTreeMap::new();
        let stores = Stores { environment: &environment, now: jiff::Timestamp::UNIX_EPOCH };
        for (text, feature) in [
            ("aws-sm://prod/database", "aws"),
            ("aws-kms://AQIDBA==", "aws"),
            ("azure-kv://bank/database", "azure"),
        ] {
            let refused = stores.fetch(&Reference::parse(text).unwrap()).unwrap_err();
            assert_eq!(refused, Refusal::NotBuilt(feature), "{text}");
        }
    }
}
