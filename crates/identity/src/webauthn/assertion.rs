//! Proving that a registered credential is there (section 7.2).
//!
//! It refuses to know whose session begins, or which payment is agreed to.

use vault::{constant_time_eq, sha256};

use super::{
    AUTHENTICATOR_DATA_BYTES_MAX, Expected, Fault, SIGNATURE_BYTES_MAX,
    authenticator_data::AuthenticatorData,
    client_data::{Ceremony, ClientData},
    cose::CredentialKey,
};

/// What `navigator.credentials.get()` gave.
pub(crate) struct Assertion<'a> {
    /// `rawId`.
    pub(crate) credential_id: &'a [u8],
    /// `clientDataJSON`.
    pub(crate) client_data: &'a [u8],
    /// `authenticatorData`.
    pub(crate) authenticator_data: &'a [u8],
    /// `signature`.
    pub(crate) signature: &'a [u8],
    /// `userHandle`: a discoverable credential names its owner.
    pub(crate) user_handle: Option<&'a [u8]>,
}

/// What is known of a credential.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) credential_id: Vec<u8>,
    pub(crate) key: CredentialKey,
    pub(crate) sign_count: u32,
    pub(crate) backup_eligible: bool,
    /// The random name by which its owner is known to authenticators.
    pub(crate) user_handle: Vec<u8>,
}

/// What changes by a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proven {
    pub(crate) sign_count: u32,
    pub(crate) backed_up: bool,
    /// Whether the authenticator verified its owner: two factors in one.
    pub(crate) user_verified: bool,
}

impl Assertion<'_> {
    /// Verifies it, in the order of [`Fault`]. The counter comes last: only what the
    /// credential itself has signed may say that there is a copy of it.
    pub(crate) fn verify(
        &self,
        expected: &Expected<'_>,
        stored: &Stored,
        handle_needed: bool,
    ) -> Result<Proven, Fault> {
        ClientData::read(self.client_data)?.check(Ceremony::Get, expected)?;
        if self.authenticator_data.len() > AUTHENTICATOR_DATA_BYTES_MAX {
            return Err(Fault::MalformedAuthenticatorData);
        }
        let data = AuthenticatorData::read(self.authenticator_data)?;
        data.check(expected)?;
        if data.backup_eligible() != stored.backup_eligible {
            return Err(Fault::InconsistentBackup);
        }
        if !constant_time_eq(self.credential_id, &stored.credential_id) {
            return Err(Fault::WrongCredential);
        }
        match self.user_handle {
            Some(handle) if constant_time_eq(handle, &stored.user_handle) => {}
            None if !handle_needed => {}
            _ => return Err(Fault::WrongUser),
        }
        let signed = [self.authenticator_data, &sha256(self.client_data)].concat();
        if self.signature.len() > SIGNATURE_BYTES_MAX
            || !stored.key.verifies(&signed, self.signature)
        {
            return Err(Fault::WrongSignature);
        }
        // Many authenticators do not count: then both are zero, for ever.
        let counts = data.sign_count != 0 || stored.sign_count != 0;
        if counts && data.sign_count <= stored.sign_count {
            return Err(Fault::CounterWentBack);
        }
        Ok(Proven {
            sign_count: data.sign_count,
            backed_up: data.backed_up(),
            user_verified: data.user_verified(),
        })
    }
}
