//! Passkeys on the wire. What goes to the browser and comes from it has the standard's own
//! shape and names (WebAuthn Level 3, section 5.1.8 to 5.1.10), so that pages hand it on as
//! it is: `PublicKeyCredential.parseCreationOptionsFromJSON()`, `toJSON()`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{
    CreationOptions as NewPasskey, Descriptor as KnownPasskey, PasskeyProof, PasskeyRecord,
    PasskeyRegistered, PasskeyRegistration, RequestOptions as WantedProof,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, instant};
use crate::{openapi_parts::Example, problem::Problem};

const PUBLIC_KEY: &str = "public-key";

/// Where to sign in.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeySignIn {
    /// The tenant's slug; may be left out where the installation has one tenant.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
}

/// A new passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterPasskey {
    /// What it shall be called, 1 to 64 characters; `Passkey` where left out.
    #[serde(default)]
    name: Option<String>,
    /// What `navigator.credentials.create()` gave, as `toJSON()` writes it.
    credential: CreatedCredential,
}

/// A proof of a passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProvePasskey {
    /// What `navigator.credentials.get()` gave, as `toJSON()` writes it.
    credential: ProvenCredential,
}

/// A passkey's new name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenamePasskey {
    /// 1 to 64 characters.
    pub(crate) name: String,
}

/// `RegistrationResponseJSON`. Members that browsers add are left unread.
#[derive(Deserialize, ToSchema)]
pub(crate) struct CreatedCredential {
    /// As `rawId`.
    id: String,
    /// The credential's id, base64url.
    #[serde(rename = "rawId")]
    raw_id: String,
    /// `public-key`.
    r#type: String,
    /// The authenticator's answer.
    response: AttestationResponse,
}

/// The authenticator's answer to a registration.
#[derive(Deserialize, ToSchema)]
pub(crate) struct AttestationResponse {
    /// What the browser says, base64url.
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    /// What the authenticator says, base64url.
    #[serde(rename = "attestationObject")]
    attestation: String,
    /// How browsers may look for it.
    #[serde(default)]
    transports: Vec<String>,
}

/// `AuthenticationResponseJSON`. Members that browsers add are left unread.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ProvenCredential {
    /// As `rawId`.
    id: String,
    /// The credential's id, base64url.
    #[serde(rename = "rawId")]
    raw_id: String,
    /// `public-key`.
    r#type: String,
    /// The authenticator's answer.
    response: AssertionResponse,
}

/// The authenticator's answer to a challenge.
#[derive(Deserialize, ToSchema)]
pub(crate) struct AssertionResponse {
    /// What the browser says, base64url.
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    /// What the authenticator says, base64url.
    #[serde(rename = "authenticatorData")]
    authenticator_data: String,
    /// Over both, base64url.
    signature: String,
    /// Whose it is, base64url.
    #[serde(rename = "userHandle", default)]
    user_handle: Option<String>,
}

impl RegisterPasskey {
    pub(crate) fn checked(self) -> Result<PasskeyRegistration, Problem> {
        self.credential.named(self.name)
    }
}

impl CreatedCredential {
    pub(crate) fn named(self, name: Option<String>) -> Result<PasskeyRegistration, Problem> {
        let Self { id, raw_id, r#type, response } = self;
        Ok(PasskeyRegistration {
            credential_id: credential_id(&id, &raw_id, &r#type)?,
            client_data: decoded("credential.response.clientDataJSON", &response.client_data)?,
            attestation: decoded("credential.response.attestationObject", &response.attestation)?,
            transports: response.transports,
            name,
        })
    }
}

impl ProvePasskey {
    pub(crate) fn checked(self) -> Result<PasskeyProof, Problem> {
        self.credential.checked()
    }
}

impl ProvenCredential {
    pub(crate) fn checked(self) -> Result<PasskeyProof, Problem> {
        let Self { id, raw_id, r#type, response } = self;
        let field = "credential.response.userHandle";
        let handle = response.user_handle.map(|handle| decoded(field, &handle));
        Ok(PasskeyProof {
            credential_id: credential_id(&id, &raw_id, &r#type)?,
            client_data: decoded("credential.response.clientDataJSON", &response.client_data)?,
            authenticator_data: decoded(
                "credential.response.authenticatorData",
                &response.authenticator_data,
            )?,
            signature: decoded("credential.response.signature", &response.signature)?,
            user_handle: handle.transpose()?,
        })
    }
}

fn credential_id(id: &str, raw_id: &str, kind: &str) -> Result<Vec<u8>, Problem> {
    if kind != PUBLIC_KEY {
        let message = "Expected public-key";
        return Err(Problem::malformed_field("credential.type", "invalid_value", message));
    }
    if id != raw_id {
        let message = "Expected the same as rawId";
        return Err(Problem::malformed_field("credential.id", "invalid_value", message));
    }
    decoded("credential.rawId", raw_id)
}

fn decoded(field: &'static str, text: &str) -> Result<Vec<u8>, Problem> {
    let message = "Expected base64url without padding";
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Problem::malformed_field(field, "invalid_value", message))
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What `navigator.credentials.create()` takes.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreationOptions {
    /// `PublicKeyCredentialCreationOptionsJSON`.
    #[serde(rename = "publicKey")]
    public_key: PublicKeyCreation,
}

/// `PublicKeyCredentialCreationOptionsJSON`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PublicKeyCreation {
    /// Whose site.
    rp: Party,
    /// Whose passkey.
    user: PasskeyOwner,
    /// Base64url; good once, for five minutes.
    challenge: String,
    /// What keys are accepted, the best first.
    pub_key_cred_params: Vec<KeyParameter>,
    /// In milliseconds.
    timeout: i64,
    /// Registered already.
    exclude_credentials: Vec<Descriptor>,
    /// What the authenticator must be able to do.
    authenticator_selection: Selection,
    /// `none`: makers are not asked.
    attestation: &'static str,
}

/// Whose site.
#[derive(Serialize, ToSchema)]
struct Party {
    /// The host name.
    id: String,
    /// The tenant.
    name: String,
}

/// Whose passkey.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PasskeyOwner {
    /// Random, base64url; says nothing of anybody.
    id: String,
    /// The name to sign in with.
    name: String,
    /// The same.
    display_name: String,
}

/// A kind of key.
#[derive(Serialize, ToSchema)]
struct KeyParameter {
    /// `public-key`.
    r#type: &'static str,
    /// -7 (ES256), -8 (EdDSA) or -257 (RS256).
    alg: i16,
}

/// A known credential.
#[derive(Serialize, ToSchema)]
struct Descriptor {
    /// `public-key`.
    r#type: &'static str,
    /// Base64url.
    id: String,
    /// How to look for it.
    transports: Vec<String>,
}

/// What the authenticator must be able to do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Selection {
    /// `required`: it can be found without a name.
    resident_key: &'static str,
    /// The same for older browsers.
    require_resident_key: bool,
    /// `required`: PIN, finger or face.
    user_verification: &'static str,
}

impl From<NewPasskey> for CreationOptions {
    fn from(new: NewPasskey) -> Self {
        let algorithms = new.algorithms.map(|alg| KeyParameter { r#type: PUBLIC_KEY, alg });
        Self {
            public_key: PublicKeyCreation {
                rp: Party { id: new.rp_id, name: new.rp_name },
                user: PasskeyOwner {
                    id: encoded(&new.user_handle),
                    name: new.username.clone(),
                    display_name: new.username,
                },
                challenge: encoded(&new.challenge),
                pub_key_cred_params: algorithms.into(),
                timeout: new.timeout_ms,
                exclude_credentials: new.exclude.into_iter().map(Descriptor::from).collect(),
                authenticator_selection: Selection {
                    resident_key: "required",
                    require_resident_key: true,
                    user_verification: "required",
                },
                attestation: "none",
            },
        }
    }
}

impl From<KnownPasskey> for Descriptor {
    fn from(known: KnownPasskey) -> Self {
        let id = encoded(&known.credential_id);
        Self { r#type: PUBLIC_KEY, id, transports: known.transports }
    }
}

const EXAMPLE_CHALLENGE: &[u8] = b"passkey_tenant_secret";
const EXAMPLE_TIMEOUT_MS: i64 = 300_000;

impl Example for CreationOptions {
    fn example() -> Self {
        NewPasskey {
            challenge: EXAMPLE_CHALLENGE.to_vec(),
            rp_id: "bank.example".to_owned(),
            rp_name: "ultracore".to_owned(),
            user_handle: b"64 random bytes".to_vec(),
            username: "customer".to_owned(),
            algorithms: [-7, -8, -257],
            exclude: Vec::new(),
            timeout_ms: EXAMPLE_TIMEOUT_MS,
        }
        .into()
    }
}

/// What `navigator.credentials.get()` takes.
#[derive(Serialize, ToSchema)]
pub(crate) struct RequestOptions {
    /// `PublicKeyCredentialRequestOptionsJSON`.
    #[serde(rename = "publicKey")]
    public_key: PublicKeyRequest,
}

/// `PublicKeyCredentialRequestOptionsJSON`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PublicKeyRequest {
    /// Base64url; good once, for five minutes.
    challenge: String,
    /// In milliseconds.
    timeout: i64,
    /// The host name.
    rp_id: String,
    /// Which will do; any of the site's where empty.
    allow_credentials: Vec<Descriptor>,
    /// `required`: PIN, finger or face.
    user_verification: &'static str,
}

impl From<WantedProof> for RequestOptions {
    fn from(wanted: WantedProof) -> Self {
        Self {
            public_key: PublicKeyRequest {
                challenge: encoded(&wanted.challenge),
                timeout: wanted.timeout_ms,
                rp_id: wanted.rp_id,
                allow_credentials: wanted.allow.into_iter().map(Descriptor::from).collect(),
                user_verification: "required",
            },
        }
    }
}

impl Example for RequestOptions {
    fn example() -> Self {
        WantedProof {
            challenge: EXAMPLE_CHALLENGE.to_vec(),
            rp_id: "bank.example".to_owned(),
            allow: Vec::new(),
            timeout_ms: EXAMPLE_TIMEOUT_MS,
        }
        .into()
    }
}

/// A passkey that counts from now on.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegisteredPasskey {
    /// The passkey.
    passkey: Passkey,
    /// The ten backup codes that come with somebody's first second factor, where the tenant
    /// has them; shown in this answer and never again.
    backup_codes: Vec<String>,
}

impl From<PasskeyRegistered> for RegisteredPasskey {
    fn from(made: PasskeyRegistered) -> Self {
        let codes = made.backup_codes.iter().map(|code| code.as_str().to_owned());
        Self { backup_codes: codes.collect(), passkey: made.passkey.into() }
    }
}

impl Example for RegisteredPasskey {
    fn example() -> Self {
        Self { passkey: Passkey::example(), backup_codes: vec!["ABCDE-FGHJK".to_owned()] }
    }
}

/// One of one's own passkeys.
#[derive(Serialize, ToSchema)]
pub(crate) struct Passkey {
    /// Its id here.
    id: Uuid,
    /// What its owner calls it.
    name: String,
    /// `ES256`, `EdDSA` or `RS256`.
    algorithm: String,
    /// The authenticator's model, where it says so.
    aaguid: Option<Uuid>,
    /// How browsers look for it.
    transports: Vec<String>,
    /// Whether it can be on several devices.
    backup_eligible: bool,
    /// Whether it was when it was last used.
    backed_up: bool,
    /// When it was last used.
    last_used_at: Option<String>,
    /// When it was registered.
    created_at: String,
    /// When it was last renamed or used.
    updated_at: String,
    /// Counts changes, not uses; its `ETag`.
    version: i64,
}

impl From<PasskeyRecord> for Passkey {
    fn from(passkey: PasskeyRecord) -> Self {
        Self {
            id: passkey.id,
            name: passkey.name,
            algorithm: passkey.algorithm,
            aaguid: passkey.aaguid,
            transports: passkey.transports,
            backup_eligible: passkey.backup_eligible,
            backed_up: passkey.backed_up,
            last_used_at: passkey.last_used_at.map(instant),
            created_at: instant(passkey.created_at),
            updated_at: instant(passkey.updated_at),
            version: passkey.version,
        }
    }
}

impl Example for Passkey {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            name: "Key on my ring".to_owned(),
            algorithm: "ES256".to_owned(),
            aaguid: None,
            transports: vec!["usb".to_owned()],
            backup_eligible: false,
            backed_up: false,
            last_used_at: Some(EXAMPLE_INSTANT.to_owned()),
            created_at: EXAMPLE_INSTANT.to_owned(),
            updated_at: EXAMPLE_INSTANT.to_owned(),
            version: 1,
        }
    }
}
