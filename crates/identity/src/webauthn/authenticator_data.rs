//! What the authenticator says (section 6.1): for which site, whether somebody was there and
//! proved to be its owner, whether the credential is backed up, its counter; at registration
//! the credential itself.
//!
//! It refuses to know whether any of it is signed.

use uuid::Uuid;
use vault::sha256;

use super::{CREDENTIAL_ID_BYTES_MAX, Expected, Fault, cbor::Value, cose::CredentialKey};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

/// Hash, flags, counter.
const HEAD_BYTES: usize = 37;

/// Authenticator data, taken apart.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8],
    flags: u8,
    pub(super) sign_count: u32,
    /// The new credential, at registration.
    pub(super) attested: Option<Attested<'a>>,
}

/// A new credential.
#[derive(Debug)]
pub(super) struct Attested<'a> {
    pub(super) aaguid: Uuid,
    pub(super) credential_id: &'a [u8],
    /// The COSE key, as it was written.
    pub(super) public_key: &'a [u8],
    /// None where it is no key of ours.
    pub(super) key: Option<CredentialKey>,
}

impl<'a> AuthenticatorData<'a> {
    /// Takes the bytes apart; what the flags announce must be there, and nothing else.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        Self::take_apart(bytes).ok_or(Fault::MalformedAuthenticatorData)
    }

    fn take_apart(bytes: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (rp_id_hash, head) = head.split_at(32);
        let (flags, count) = (head[0], head[1..].try_into().ok()?);
        let mut attested = None;
        if flags & ATTESTED != 0 {
            let (credential, after) = Attested::take_apart(rest)?;
            (attested, rest) = (Some(credential), after);
        }
        if flags & EXTENSIONS != 0 {
            let (extensions, after) = Value::read_first(rest).ok()?;
            extensions.members()?;
            rest = after;
        }
        let whole = Self { rp_id_hash, flags, sign_count: u32::from_be_bytes(count), attested };
        rest.is_empty().then_some(whole)
    }

    /// The checks that both ceremonies have in common.
    pub(super) fn check(&self, expected: &Expected<'_>) -> Result<(), Fault> {
        if self.rp_id_hash != sha256(expected.party.id.as_bytes()) {
            return Err(Fault::WrongRelyingParty);
        }
        if !self.has(USER_PRESENT) {
            return Err(Fault::UserNotPresent);
        }
        if expected.user_verification && !self.has(USER_VERIFIED) {
            return Err(Fault::UserNotVerified);
        }
        if self.backed_up() && !self.backup_eligible() {
            return Err(Fault::InconsistentBackup);
        }
        Ok(())
    }

    /// Whether the authenticator verified its owner.
    pub(super) fn user_verified(&self) -> bool {
        self.has(USER_VERIFIED)
    }

    /// Whether the credential can be on several devices; fixed for its life.
    pub(super) fn backup_eligible(&self) -> bool {
        self.has(BACKUP_ELIGIBLE)
    }

    /// Whether it is at the moment.
    pub(super) fn backed_up(&self) -> bool {
        self.has(BACKED_UP)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl<'a> Attested<'a> {
    fn take_apart(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (aaguid, rest) = bytes.split_at_checked(16)?;
        let (length, rest) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        if !(1..=CREDENTIAL_ID_BYTES_MAX).contains(&length) {
            return None;
        }
        let (credential_id, rest) = rest.split_at_checked(length)?;
        let (key, after) = Value::read_first(rest).ok()?;
        let public_key = &rest[..rest.len() - after.len()];
        let aaguid = Uuid::from_slice(aaguid).ok()?;
        let credential = Self { aaguid, credential_id, public_key, key: CredentialKey::of(&key) };
        Some((credential, after))
    }
}
