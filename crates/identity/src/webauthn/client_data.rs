//! What the browser says of a ceremony (section 5.8.1): which one, for which challenge, on whose
//! page. The authenticator signs its hash.
//!
//! Members that are not known are allowed, as the standard wants; one that comes twice is not.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use vault::constant_time_eq;

use super::{CLIENT_DATA_BYTES_MAX, Expected, Fault};

/// Which ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ceremony {
    Create,
    Get,
}

impl Ceremony {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "webauthn.create",
            Self::Get => "webauthn.get",
        }
    }
}

/// The client data, read and not yet believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: Option<bool>,
    #[serde(default)]
    top_origin: Option<String>,
}

impl ClientData {
    /// Reads the JSON that a browser made.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        // serde would read a struct from a list of its values as well.
        if bytes.len() > CLIENT_DATA_BYTES_MAX || bytes.first() != Some(&b'{') {
            return Err(Fault::MalformedClientData);
        }
        serde_json::from_slice(bytes).map_err(|_| Fault::MalformedClientData)
    }

    /// The challenge that it answers, as bytes.
    pub(crate) fn challenge(&self) -> Result<Vec<u8>, Fault> {
        URL_SAFE_NO_PAD.decode(&self.challenge).map_err(|_| Fault::MalformedClientData)
    }

    pub(super) fn check(&self, ceremony: Ceremony, expected: &Expected<'_>) -> Result<(), Fault> {
        if self.r#type != ceremony.as_str() {
            return Err(Fault::WrongType);
        }
        if !constant_time_eq(&self.challenge()?, expected.challenge) {
            return Err(Fault::WrongChallenge);
        }
        if self.origin != expected.party.origin {
            return Err(Fault::WrongOrigin);
        }
        // Our pages are in nobody's frame.
        if self.cross_origin == Some(true) || self.top_origin.is_some() {
            return Err(Fault::CrossOrigin);
        }
        Ok(())
    }
}
