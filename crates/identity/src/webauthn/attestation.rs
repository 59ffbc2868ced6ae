//! The attestation object (section 6.5): authenticator data and what the authenticator's maker
//! says of it.
//!
//! We ask for no attestation, so browsers give `none`, or `packed` signed by the credential
//! itself; the one is empty, the other verified. A statement that would need a maker's
//! certificate is refused: what cannot be verified must not look as if it had been.

use super::{ATTESTATION_BYTES_MAX, Fault, cbor::Value, cose::CredentialKey};

/// An attestation object, taken apart.
#[derive(Debug)]
pub(super) struct Attestation<'a> {
    format: &'a str,
    statement: Value<'a>,
    /// As it was written, which is what is signed.
    pub(super) authenticator_data: &'a [u8],
}

impl<'a> Attestation<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        Self::take_apart(bytes).ok_or(Fault::MalformedAttestation)
    }

    fn take_apart(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > ATTESTATION_BYTES_MAX {
            return None;
        }
        let object = Value::read(bytes).ok()?;
        let statement = object.named("attStmt")?;
        statement.members()?;
        let whole = Self {
            format: object.named("fmt")?.text()?,
            statement: statement.clone(),
            authenticator_data: object.named("authData")?.bytes()?,
        };
        (object.members()? == 3).then_some(whole)
    }

    /// Verifies the statement about `key` (sections 8.2 and 8.7).
    pub(super) fn verify(
        &self,
        key: &CredentialKey,
        client_data_hash: &[u8; 32],
    ) -> Result<(), Fault> {
        let stated = |name| self.statement.named(name);
        let holds = match (self.format, self.statement.members()) {
            ("none", Some(0)) => true,
            // Signed by the credential itself: no certificates beside algorithm and signature.
            ("packed", Some(2)) => {
                let algorithm = stated("alg").and_then(Value::integer);
                let signature = stated("sig").and_then(Value::bytes).unwrap_or_default();
                let signed = [self.authenticator_data, client_data_hash].concat();
                if algorithm == Some(i64::from(key.algorithm())) && key.verifies(&signed, signature)
                {
                    return Ok(());
                }
                return Err(Fault::WrongSignature);
            }
            _ => false,
        };
        if holds { Ok(()) } else { Err(Fault::UnverifiableAttestation) }
    }
}
