//! Second factors on the wire.

use banking::payee::PaymentToProve;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use identity::{
    Confirmed as StoredConfirmed, FactorRecord, PasskeyProof, PasskeyRegistered,
    PasskeyRegistration, PaymentProven, Proven, Regenerate, ResetRequest, SecondFactorDue,
    Setup as StoredSetup, SignIn, TokenGrant, VerifiedStep,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID,
    accounts::currency,
    auth::Tokens,
    instant,
    passkeys::{CreatedCredential, CreationOptions, ProvenCredential},
    transfers::minor_units,
};
use crate::{openapi_parts::Example, problem::Problem};

/// How a second factor is proven.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// An authenticator app (RFC 6238).
    Totp,
    /// A text message.
    Sms,
    /// An e-mail.
    Email,
    /// A backup code.
    Backup,
    /// A passkey; proven by a credential in the place of a code.
    Passkey,
}

impl From<Method> for identity::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Totp => Self::Totp,
            Method::Sms => Self::Sms,
            Method::Email => Self::Email,
            Method::Backup => Self::Backup,
            Method::Passkey => Self::Passkey,
        }
    }
}

impl From<identity::Method> for Method {
    fn from(method: identity::Method) -> Self {
        match method {
            identity::Method::Totp => Self::Totp,
            identity::Method::Sms => Self::Sms,
            identity::Method::Email => Self::Email,
            identity::Method::Backup => Self::Backup,
            identity::Method::Passkey => Self::Passkey,
        }
    }
}

/// A right password, and a second step that is due.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecondStep {
    /// Always true.
    mfa_required: bool,
    /// Good for the second step and nothing else.
    mfa_token: String,
    /// What may be proven with; empty where a factor has to be enrolled first.
    methods: Vec<Method>,
    /// Whether the role requires a factor and there is none: `mfa_token` then opens
    /// `POST /v1/auth/mfa/enrolment` and nothing else.
    enrolment_required: bool,
    /// Seconds until `mfa_token` is good for nothing.
    expires_in: i64,
}

impl From<SecondFactorDue> for SecondStep {
    fn from(due: SecondFactorDue) -> Self {
        Self {
            mfa_required: true,
            mfa_token: due.token.as_str().to_owned(),
            methods: due.methods.into_iter().map(Method::from).collect(),
            enrolment_required: due.enrolment_required,
            expires_in: due.expires_in_s,
        }
    }
}

/// Tokens, or the second step.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum SignInAnswer {
    /// Signed in.
    Tokens(Tokens),
    /// A second factor is due.
    SecondStep(SecondStep),
}

impl From<SignIn> for SignInAnswer {
    fn from(outcome: SignIn) -> Self {
        match outcome {
            SignIn::Tokens(grant) => Self::Tokens(grant.into()),
            SignIn::SecondFactor(due) => Self::SecondStep(due.into()),
        }
    }
}

impl Example for SignInAnswer {
    fn example() -> Self {
        Self::Tokens(Tokens::example())
    }
}

/// Where a code is to be sent for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Challenge {
    /// Of the sign-in.
    #[schema(format = Password)]
    pub(crate) mfa_token: String,
    /// `sms`, `email` or `passkey`.
    pub(crate) method: Method,
}

/// A second step: a code, or a passkey's credential.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verify {
    /// Of the sign-in.
    #[schema(format = Password)]
    pub(crate) mfa_token: String,
    /// Absent: authenticator app first, then backup codes.
    #[serde(default)]
    method: Option<Method>,
    /// As typed.
    #[serde(default)]
    #[schema(format = Password)]
    code: Option<String>,
    /// In its place, with the method `passkey`: what `navigator.credentials.get()` gave.
    #[serde(default)]
    credential: Option<ProvenCredential>,
}

/// What a second factor is proven with.
pub(crate) enum Presented {
    /// A code.
    Code(Option<identity::Method>, Zeroizing<String>),
    /// What an authenticator said.
    Passkey(PasskeyProof),
}

impl Presented {
    /// A code or a credential, whichever the method wants, and nothing beside it.
    fn of(
        method: Option<Method>,
        code: Option<String>,
        credential: Option<ProvenCredential>,
    ) -> Result<Self, Problem> {
        let unknown = |field| {
            let message = "This field does not belong to the method";
            Err(Problem::malformed_field(field, "unknown_field", message))
        };
        let missing = |field| {
            let message = "This field is required";
            Err(Problem::malformed_field(field, "missing_field", message))
        };
        match (method, code, credential) {
            (Some(Method::Passkey), None, Some(credential)) => {
                credential.checked().map(Self::Passkey)
            }
            (Some(Method::Passkey), None, None) => missing("credential"),
            (Some(Method::Passkey), Some(_), _) => unknown("code"),
            (_, _, Some(_)) => unknown("credential"),
            (_, None, None) => missing("code"),
            (method, Some(code), None) => {
                Ok(Self::Code(method.map(Into::into), Zeroizing::new(code)))
            }
        }
    }
}

impl Verify {
    pub(crate) fn presented(self) -> Result<(String, Presented), Problem> {
        Ok((self.mfa_token, Presented::of(self.method, self.code, self.credential)?))
    }
}

impl StepUp {
    pub(crate) fn presented(self) -> Result<(Presented, Option<Payment>), Problem> {
        Ok((Presented::of(self.method, self.code, self.credential)?, self.payment))
    }
}

/// Whether new backup codes are due.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Due {
    /// One was used.
    Advised,
    /// Two or fewer are left.
    Required,
}

/// Tokens, and which factor passed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verified {
    /// The tokens.
    #[serde(flatten)]
    tokens: Tokens,
    /// Which factor it was.
    method: Method,
    /// Where it was a backup code: how many are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_codes_remaining: Option<u32>,
    /// Where it was a backup code: whether new ones are due.
    #[serde(skip_serializing_if = "Option::is_none")]
    regenerate_backup_codes: Option<Due>,
}

impl From<VerifiedStep> for Verified {
    fn from(VerifiedStep { tokens, proven }: VerifiedStep) -> Self {
        let Proven { method, backup_codes_left } = proven;
        Self {
            tokens: tokens.into(),
            method: method.into(),
            backup_codes_remaining: backup_codes_left,
            regenerate_backup_codes: proven.regenerate().map(|due| match due {
                Regenerate::Advised => Due::Advised,
                Regenerate::Required => Due::Required,
            }),
        }
    }
}

impl Example for Verified {
    fn example() -> Self {
        Self {
            tokens: Tokens::example(),
            method: Method::Backup,
            backup_codes_remaining: Some(2),
            regenerate_backup_codes: Some(Due::Required),
        }
    }
}

/// A factor to be enrolled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetUp {
    /// `totp`, `sms` or `email`.
    pub(crate) method: Method,
    /// What you call it.
    #[serde(default)]
    pub(crate) name: Option<String>,
}

/// A factor to be enrolled, because the role requires one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrol {
    /// Of the sign-in.
    #[schema(format = Password)]
    pub(crate) mfa_token: String,
    /// `totp`, `sms`, `email` or `passkey`.
    pub(crate) method: Method,
    /// What you call it; a passkey is named with its credential.
    #[serde(default)]
    pub(crate) name: Option<String>,
}

/// The first code of that factor or, of a passkey, what the authenticator made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinishEnrolment {
    /// Of the sign-in.
    #[schema(format = Password)]
    pub(crate) mfa_token: String,
    /// Needed for a passkey, and where more than one waits to be confirmed.
    #[serde(default)]
    method: Option<Method>,
    /// As typed.
    #[serde(default)]
    #[schema(format = Password)]
    code: Option<String>,
    /// In its place, with the method `passkey`: what `navigator.credentials.create()` gave.
    #[serde(default)]
    credential: Option<CreatedCredential>,
    /// With a passkey: what it shall be called.
    #[serde(default)]
    name: Option<String>,
}

/// What a factor is enrolled with.
pub(crate) enum FirstProof {
    /// Its first code.
    Code(Option<identity::Method>, Zeroizing<String>),
    /// What an authenticator made.
    Passkey(PasskeyRegistration),
}

impl FinishEnrolment {
    pub(crate) fn checked(self) -> Result<(String, FirstProof), Problem> {
        let missing = |field| {
            let message = "This field is required";
            Err(Problem::malformed_field(field, "missing_field", message))
        };
        let unknown = |field| {
            let message = "This field does not belong to the method";
            Err(Problem::malformed_field(field, "unknown_field", message))
        };
        let proof = match (self.method, self.code, self.credential) {
            (Some(Method::Passkey), None, Some(credential)) => {
                FirstProof::Passkey(credential.named(self.name)?)
            }
            (Some(Method::Passkey), None, None) => return missing("credential"),
            (Some(Method::Passkey), Some(_), _) => return unknown("code"),
            (_, _, Some(_)) => return unknown("credential"),
            (_, None, None) => return missing("code"),
            (..) if self.name.is_some() => return unknown("name"),
            (method, Some(code), None) => {
                FirstProof::Code(method.map(Into::into), Zeroizing::new(code))
            }
        };
        Ok((self.mfa_token, proof))
    }
}

/// What is needed to enrol the factor that a role requires.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum EnrolmentBegun {
    /// Of an app, or of a method that sends codes.
    Setup(Setup),
    /// Of a passkey: for `navigator.credentials.create()`.
    Passkey(CreationOptions),
}

impl Example for EnrolmentBegun {
    fn example() -> Self {
        Self::Setup(Setup::example())
    }
}

/// What is needed to set a factor up; its first code confirms it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Setup {
    /// Which.
    method: Method,
    /// For an authenticator app: the QR code as a PNG, in a `data:` address.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_code: Option<String>,
    /// The same as an SVG document.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_code_svg: Option<String>,
    /// What the QR code says.
    #[serde(skip_serializing_if = "Option::is_none")]
    otpauth_uri: Option<String>,
    /// The secret, to be typed where nothing can be scanned.
    #[serde(skip_serializing_if = "Option::is_none")]
    manual_entry_key: Option<String>,
}

impl From<StoredSetup> for Setup {
    fn from(setup: StoredSetup) -> Self {
        let app = setup.app.as_ref();
        Self {
            method: setup.method.into(),
            qr_code: app.map(|app| {
                format!("data:image/png;base64,{}", STANDARD.encode(app.png.as_slice()))
            }),
            qr_code_svg: app.map(|app| app.svg.as_str().to_owned()),
            otpauth_uri: app.map(|app| app.uri.as_str().to_owned()),
            manual_entry_key: app.map(|app| app.manual_key.as_str().to_owned()),
        }
    }
}

impl Example for Setup {
    fn example() -> Self {
        Self {
            method: Method::Totp,
            qr_code: Some("data:image/png;base64,iVBORw0KGgo=".to_owned()),
            qr_code_svg: Some("<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_owned()),
            otpauth_uri: Some(
                "otpauth://totp/UltraCore:customer?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
                 &issuer=UltraCore&algorithm=SHA1&digits=6&period=30"
                    .to_owned(),
            ),
            manual_entry_key: Some("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned()),
        }
    }
}

/// The first code of what is being enrolled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirm {
    /// Needed where more than one waits to be confirmed.
    #[serde(default)]
    pub(crate) method: Option<Method>,
    /// As typed.
    #[schema(format = Password)]
    pub(crate) code: String,
}

/// A factor that counts from now on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Confirmed {
    /// Always true.
    enabled: bool,
    /// Which.
    method: Method,
    /// With the first factor: ten codes for when it is not at hand. Shown now and never again.
    backup_codes: Vec<String>,
}

impl From<StoredConfirmed> for Confirmed {
    fn from(confirmed: StoredConfirmed) -> Self {
        Self {
            enabled: true,
            method: confirmed.method.into(),
            backup_codes: plain(&confirmed.backup_codes),
        }
    }
}

impl Example for Confirmed {
    fn example() -> Self {
        let backup_codes = vec!["7KQ2M-X9D4T".to_owned()];
        Self { enabled: true, method: Method::Totp, backup_codes }
    }
}

/// A factor that counts from now on, and the tokens of the sign-in that required it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Enrolled {
    /// The factor.
    #[serde(flatten)]
    confirmed: Confirmed,
    /// The tokens.
    #[serde(flatten)]
    tokens: Tokens,
}

impl From<(StoredConfirmed, TokenGrant)> for Enrolled {
    fn from((confirmed, tokens): (StoredConfirmed, TokenGrant)) -> Self {
        Self { confirmed: confirmed.into(), tokens: tokens.into() }
    }
}

impl From<(PasskeyRegistered, TokenGrant)> for Enrolled {
    fn from((made, tokens): (PasskeyRegistered, TokenGrant)) -> Self {
        let backup_codes = plain(&made.backup_codes);
        let confirmed = Confirmed { enabled: true, method: Method::Passkey, backup_codes };
        Self { confirmed, tokens: tokens.into() }
    }
}

impl Example for Enrolled {
    fn example() -> Self {
        Self { confirmed: Confirmed::example(), tokens: Tokens::example() }
    }
}

/// A new set of backup codes.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackupCodes {
    /// Ten; shown now and never again.
    backup_codes: Vec<String>,
}

impl BackupCodes {
    pub(crate) fn of(codes: &[zeroize::Zeroizing<String>]) -> Self {
        Self { backup_codes: plain(codes) }
    }
}

impl Example for BackupCodes {
    fn example() -> Self {
        Self { backup_codes: vec!["7KQ2M-X9D4T".to_owned()] }
    }
}

fn plain(codes: &[zeroize::Zeroizing<String>]) -> Vec<String> {
    codes.iter().map(|code| code.as_str().to_owned()).collect()
}

/// One of your factors.
#[derive(Serialize, ToSchema)]
pub(crate) struct Factor {
    /// Its id; backup codes, which come with the others, have none.
    id: Option<Uuid>,
    /// Which.
    method: Method,
    /// What you call it.
    name: String,
    /// When it was last used.
    last_used_at: Option<String>,
    /// Of backup codes: how many are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<i32>,
    /// Since when it counts.
    created_at: Option<String>,
    /// Counts changes, not uses; its `ETag`. Backup codes have none.
    version: Option<i64>,
}

impl From<FactorRecord> for Factor {
    fn from(factor: FactorRecord) -> Self {
        Self {
            id: factor.id,
            method: factor.method.into(),
            name: factor.name,
            last_used_at: factor.last_used_at.map(instant),
            remaining: factor.remaining,
            created_at: factor.confirmed_at.map(instant),
            version: factor.version,
        }
    }
}

impl Example for Factor {
    fn example() -> Self {
        Self {
            id: Some(EXAMPLE_ID),
            method: Method::Totp,
            name: "Authenticator app".to_owned(),
            last_used_at: Some(EXAMPLE_INSTANT.to_owned()),
            remaining: None,
            created_at: Some(EXAMPLE_INSTANT.to_owned()),
            version: Some(2),
        }
    }
}

/// Another name for a factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rename {
    /// 1 to 64 characters.
    pub(crate) name: String,
}

/// A method that sends codes, or that asks a browser; for a payment any method.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendTo {
    /// `sms`, `email` or `passkey`; for a payment `totp` and `backup` as well, of which
    /// nothing is sent.
    pub(crate) method: Method,
    /// The one payment that is to be proven.
    #[serde(default)]
    pub(crate) payment: Option<Payment>,
}

/// The payment that a proof is bound to: change anything and it is void.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payment {
    /// The account to debit.
    from_account_id: Uuid,
    /// The account to credit.
    to_account_id: Uuid,
    /// Minor units, 1 to 2^53 − 1.
    #[serde(deserialize_with = "minor_units")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    amount: i64,
    /// ISO 4217, of both accounts.
    currency: String,
}

impl Payment {
    /// What banking judges, and what identity binds a proof to.
    pub(crate) fn checked(self) -> Result<(PaymentToProve, identity::Payment), Problem> {
        let currency = currency(&self.currency)?;
        let (from_account_id, to_account_id) = (self.from_account_id, self.to_account_id);
        let amount = self.amount;
        let judged = PaymentToProve { from_account_id, to_account_id, amount, currency };
        let currency = currency.code().to_owned();
        let bound = identity::Payment { from_account_id, to_account_id, amount, currency };
        Ok((judged, bound))
    }
}

/// A payment that was proven; the next transfer of this amount between these accounts, in
/// this session, uses it up.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProvenPayment {
    /// The authorisation's id, as the audit log names it.
    id: Uuid,
    /// Until when the transfer may be ordered.
    expires_at: String,
    /// Which factor it was.
    method: Method,
    /// Where it was a backup code: how many are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_codes_remaining: Option<u32>,
}

impl From<PaymentProven> for ProvenPayment {
    fn from(PaymentProven { id, expires_at, proven }: PaymentProven) -> Self {
        Self {
            id,
            expires_at: instant(expires_at),
            method: proven.method.into(),
            backup_codes_remaining: proven.backup_codes_left,
        }
    }
}

/// What stepping up gives: other tokens, or, where a payment was proven, its authorisation.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum SteppedUp {
    /// Tokens of the session that took the other's place.
    Session(Verified),
    /// The session goes on, and may make this one payment.
    Payment(ProvenPayment),
}

impl Example for SteppedUp {
    fn example() -> Self {
        Self::Session(Verified::example())
    }
}

/// A factor proven again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepUp {
    /// Absent: authenticator app first, then backup codes.
    #[serde(default)]
    method: Option<Method>,
    /// As typed.
    #[serde(default)]
    #[schema(format = Password)]
    code: Option<String>,
    /// In its place, with the method `passkey`: what `navigator.credentials.get()` gave.
    #[serde(default)]
    credential: Option<ProvenCredential>,
    /// The one payment that is proven, as it was asked for.
    #[serde(default)]
    payment: Option<Payment>,
}

/// A reset of somebody's factors, waiting for a second admin.
#[derive(Serialize, ToSchema)]
pub(crate) struct FactorReset {
    /// Its id.
    id: Uuid,
    /// Whose factors.
    user_id: Uuid,
    /// Who asked.
    requested_by: Uuid,
    /// Until when another admin may confirm it.
    expires_at: String,
    /// SHA-256 over the request and the factors that it takes; what is confirmed is this.
    payload_hash: String,
}

/// A reset that another admin asked for, to be done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmReset {
    /// Which request: one that has taken its place since is not confirmed.
    pub(crate) request_id: Uuid,
}

impl From<ResetRequest> for FactorReset {
    fn from(request: ResetRequest) -> Self {
        Self {
            id: request.id,
            user_id: request.user_id,
            requested_by: request.requested_by,
            expires_at: instant(request.expires_at),
            payload_hash: request.payload_hash,
        }
    }
}

impl Example for FactorReset {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            user_id: OTHER_ID,
            requested_by: EXAMPLE_ID,
            expires_at: EXAMPLE_INSTANT.to_owned(),
            payload_hash: "9f2c7a5e".repeat(8),
        }
    }
}
