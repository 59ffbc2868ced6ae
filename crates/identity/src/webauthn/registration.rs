//! Registering a credential (section 7.1).
//!
//! It refuses to know whether the credential is known already: the database says so.

use uuid::Uuid;
use vault::sha256;

use super::{
    Expected, Fault,
    attestation::Attestation,
    authenticator_data::AuthenticatorData,
    client_data::{Ceremony, ClientData},
};

/// What `navigator.credentials.create()` gave.
pub(crate) struct Registration<'a> {
    /// `rawId`.
    pub(crate) credential_id: &'a [u8],
    /// `clientDataJSON`.
    pub(crate) client_data: &'a [u8],
    /// `attestationObject`.
    pub(crate) attestation: &'a [u8],
}

/// A credential that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewCredential {
    pub(crate) credential_id: Vec<u8>,
    /// The COSE key, as the authenticator wrote it.
    pub(crate) public_key: Vec<u8>,
    /// Its COSE number.
    pub(crate) algorithm: i16,
    pub(crate) sign_count: u32,
    /// The authenticator's model; all zeros where it does not say.
    pub(crate) aaguid: Uuid,
    pub(crate) backup_eligible: bool,
    pub(crate) backed_up: bool,
}

impl Registration<'_> {
    /// Verifies it, in the order of [`Fault`].
    pub(crate) fn verify(&self, expected: &Expected<'_>) -> Result<NewCredential, Fault> {
        ClientData::read(self.client_data)?.check(Ceremony::Create, expected)?;
        let attestation = Attestation::read(self.attestation)?;
        let data = AuthenticatorData::read(attestation.authenticator_data)?;
        data.check(expected)?;
        let attested = data.attested.as_ref().ok_or(Fault::MalformedAuthenticatorData)?;
        let key = attested.key.as_ref().ok_or(Fault::UnacceptableKey)?;
        attestation.verify(key, &sha256(self.client_data))?;
        if attested.credential_id != self.credential_id {
            return Err(Fault::WrongCredential);
        }
        Ok(NewCredential {
            credential_id: attested.credential_id.to_vec(),
            public_key: attested.public_key.to_vec(),
            algorithm: key.algorithm(),
            sign_count: data.sign_count,
            aaguid: attested.aaguid,
            backup_eligible: data.backup_eligible(),
            backed_up: data.backed_up(),
        })
    }
}
