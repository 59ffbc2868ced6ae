//! Web Authentication (W3C, Level 3): what a browser hands over, taken apart and verified.
//!
//! Owns the two ceremonies of a relying party: [`registration`] (section 7.1), which ends in a
//! new credential, and [`assertion`] (section 7.2), which proves that one is there. Everything
//! here is a pure function of its arguments. It refuses to know challenges' whereabouts, people,
//! the database and the time; signatures are the vault's.

mod attestation;
mod authenticator_data;
mod cbor;
mod client_data;
mod cose;
mod party;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub(crate) mod assertion;
pub(crate) mod registration;

pub(crate) use client_data::ClientData;
pub(crate) use cose::{ALGORITHMS, CredentialKey};
pub(crate) use party::RelyingParty;

/// Longest client data read, in bytes: type, challenge, origin and what browsers add.
pub(crate) const CLIENT_DATA_BYTES_MAX: usize = 4_096;
/// Longest attestation object, in bytes. One without certificates, which is all that is
/// accepted, needs two thousand at the most.
pub(crate) const ATTESTATION_BYTES_MAX: usize = 16_384;
/// Longest authenticator data of an assertion, in bytes: 37 and whatever extensions say.
pub(crate) const AUTHENTICATOR_DATA_BYTES_MAX: usize = 4_096;
/// Longest signature, in bytes: RSA of 4096 bits.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 512;
/// Longest credential id, in bytes (section 4, Credential ID).
pub(crate) const CREDENTIAL_ID_BYTES_MAX: usize = 1_023;

/// What is wrong with a ceremony, in the order in which it is looked at. None of it is more
/// than what the caller sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client data is not the JSON that browsers make, or too long.
    MalformedClientData,
    /// Made for the other ceremony.
    WrongType,
    /// Another challenge than the one that was given.
    WrongChallenge,
    /// Asked for by another site.
    WrongOrigin,
    /// Asked for inside another site's page.
    CrossOrigin,
    /// The attestation is not the CBOR that authenticators make, or too long.
    MalformedAttestation,
    /// The authenticator data do not hold together.
    MalformedAuthenticatorData,
    /// Made for another relying party.
    WrongRelyingParty,
    /// Nobody was there.
    UserNotPresent,
    /// Nobody proved to the authenticator to be its owner.
    UserNotVerified,
    /// Backed up and not able to be, or able today and not when it was registered.
    InconsistentBackup,
    /// Not a key of ours, or one of an algorithm that was not asked for.
    UnacceptableKey,
    /// A statement of the maker's that cannot be verified here.
    UnverifiableAttestation,
    /// Another credential than the one that was named.
    WrongCredential,
    /// Another person's credential.
    WrongUser,
    /// Not signed by the credential.
    WrongSignature,
    /// The counter stands still or went back: there may be a copy.
    CounterWentBack,
}

impl Fault {
    /// Stable, `lower_snake_case`.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::MalformedClientData => "malformed_client_data",
            Self::WrongType => "wrong_type",
            Self::WrongChallenge => "wrong_challenge",
            Self::WrongOrigin => "wrong_origin",
            Self::CrossOrigin => "cross_origin",
            Self::MalformedAttestation => "malformed_attestation",
            Self::MalformedAuthenticatorData => "malformed_authenticator_data",
            Self::WrongRelyingParty => "wrong_relying_party",
            Self::UserNotPresent => "user_not_present",
            Self::UserNotVerified => "user_not_verified",
            Self::InconsistentBackup => "inconsistent_backup_state",
            Self::UnacceptableKey => "unacceptable_key",
            Self::UnverifiableAttestation => "unverifiable_attestation",
            Self::WrongCredential => "wrong_credential",
            Self::WrongUser => "wrong_user",
            Self::WrongSignature => "wrong_signature",
            Self::CounterWentBack => "counter_went_back",
        }
    }

    /// The part of the credential that is at fault, as the browser names it.
    pub(crate) const fn field(self) -> &'static str {
        match self {
            Self::MalformedClientData
            | Self::WrongType
            | Self::WrongChallenge
            | Self::WrongOrigin
            | Self::CrossOrigin => "credential.response.clientDataJSON",
            Self::MalformedAttestation | Self::UnacceptableKey | Self::UnverifiableAttestation => {
                "credential.response.attestationObject"
            }
            Self::MalformedAuthenticatorData
            | Self::WrongRelyingParty
            | Self::UserNotPresent
            | Self::UserNotVerified
            | Self::InconsistentBackup
            | Self::CounterWentBack => "credential.response.authenticatorData",
            Self::WrongCredential => "credential.id",
            Self::WrongUser => "credential.response.userHandle",
            Self::WrongSignature => "credential.response.signature",
        }
    }
}

/// What every ceremony must have been made for.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// Whose site.
    pub(crate) party: &'a RelyingParty,
    /// The bytes that were given to the browser.
    pub(crate) challenge: &'a [u8],
    /// Whether the authenticator must have verified its owner (PIN, finger, face).
    pub(crate) user_verification: bool,
}
