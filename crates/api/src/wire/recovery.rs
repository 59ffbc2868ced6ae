//! Passwords, links and addresses on the wire.

use identity::{
    Invitation as StoredInvitation, LinkSent as StoredLink, NewAddress, NewPasswordByLink,
    PasswordAdvice as StoredAdvice, PasswordChange, PhoneChallenge as StoredChallenge,
    Referral as StoredReferral,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant, problem::FieldProblem};
use crate::openapi_parts::Example;

/// Somebody who cannot sign in any more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgotPassword {
    /// The tenant's slug; may be left out where the installation has one tenant.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    /// User name or e-mail.
    pub(crate) username: String,
}

/// Somebody who signs up without an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    /// The tenant's slug; may be left out where the installation has one tenant.
    #[serde(default)]
    tenant: Option<String>,
    /// 1 to 64 letters, digits, dots, dashes and underscores; where it is taken, the message
    /// names another one.
    username: String,
    /// Where the link goes that sets the password.
    pub(crate) email: String,
    /// At most 200 characters.
    #[serde(default)]
    full_name: Option<String>,
    /// Of whoever recommended us.
    #[serde(default)]
    referral_code: Option<String>,
}

impl Register {
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
}

impl From<Register> for identity::Registration {
    fn from(form: Register) -> Self {
        Self {
            tenant: form.tenant,
            username: form.username,
            email: form.email,
            full_name: form.full_name,
            referral_code: form.referral_code,
        }
    }
}

/// That a question was taken, which says nothing of its answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Always true.
    pub(crate) accepted: bool,
}

impl Example for Accepted {
    fn example() -> Self {
        Self { accepted: true }
    }
}

/// A link that was followed, and the password to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordByLink {
    /// What stood in the link as `token`; good for one use.
    #[schema(format = Password)]
    pub(crate) token: String,
    /// As chosen.
    #[schema(format = Password)]
    pub(crate) new_password: String,
}

impl PasswordByLink {
    pub(crate) fn into_request(self, link: identity::Link) -> NewPasswordByLink {
        NewPasswordByLink { link, token: self.token.into(), new: self.new_password.into() }
    }
}

/// One's own password, to be changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangePassword {
    /// The present one.
    #[schema(format = Password)]
    current_password: String,
    /// The next one.
    #[schema(format = Password)]
    new_password: String,
}

impl From<ChangePassword> for PasswordChange {
    fn from(change: ChangePassword) -> Self {
        Self { current: change.current_password.into(), new: change.new_password.into() }
    }
}

/// A password on its way to being chosen.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TryPassword {
    /// The tenant's slug; may be left out where the installation has one tenant.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    /// As typed so far.
    #[schema(format = Password)]
    pub(crate) password: String,
    /// Whose it would be, as far as that is known: it must not contain them.
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// The same.
    #[serde(default)]
    pub(crate) email: Option<String>,
}

/// What is to be said of a password; nothing of it is kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct PasswordAdvice {
    /// Whether it obeys the tenant's rules. Whether it was used before is looked at when it is set.
    acceptable: bool,
    /// Every rule that it breaks.
    errors: Vec<FieldProblem>,
    /// An estimate, 0 (guessed at once) to 4 (very unlikely to be guessed); advice only.
    #[schema(maximum = 4)]
    score: u8,
    /// The logarithm to base 10 of the guesses it would take.
    guesses_log10: f64,
    /// What is weak about it.
    warning: Option<String>,
    /// What would make it better.
    suggestions: Vec<String>,
}

impl From<StoredAdvice> for PasswordAdvice {
    fn from(advice: StoredAdvice) -> Self {
        Self {
            acceptable: advice.broken.is_empty(),
            errors: advice.broken.into_iter().map(FieldProblem::from).collect(),
            score: advice.score,
            // An empty password takes no guess, whose logarithm JSON cannot write.
            guesses_log10: advice.guesses_log10.max(0.0),
            warning: advice.warning,
            suggestions: advice.suggestions,
        }
    }
}

impl Example for PasswordAdvice {
    fn example() -> Self {
        Self {
            acceptable: true,
            errors: Vec::new(),
            score: 4,
            guesses_log10: 14.2,
            warning: None,
            suggestions: Vec::new(),
        }
    }
}

/// Who is to be invited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invite {
    /// A user without a password, and with an e-mail address.
    pub(crate) user_id: Uuid,
}

/// An invitation that is on its way.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invitation {
    /// Its id.
    id: Uuid,
    /// Who is invited.
    user_id: Uuid,
    /// From when on its link is good for nothing.
    expires_at: String,
    /// When it was sent.
    created_at: String,
}

impl From<StoredInvitation> for Invitation {
    fn from(invitation: StoredInvitation) -> Self {
        Self {
            id: invitation.id,
            user_id: invitation.user_id,
            expires_at: instant(invitation.expires_at),
            created_at: instant(invitation.created_at),
        }
    }
}

impl Example for Invitation {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            user_id: OTHER_ID,
            expires_at: "2026-11-28T09:30:00.000000Z".to_owned(),
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// One's own next e-mail address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEmail {
    /// Where the link goes that makes it one's own.
    email: String,
    /// May be left out where the session used a second factor within five minutes.
    #[serde(default)]
    #[schema(format = Password)]
    current_password: Option<String>,
}

impl From<NewEmail> for NewAddress {
    fn from(new: NewEmail) -> Self {
        Self { address: new.email, current_password: new.current_password.map(Into::into) }
    }
}

/// One's own next phone number.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPhone {
    /// E.164; where the code goes.
    phone: String,
    /// May be left out where the session used a second factor within five minutes.
    #[serde(default)]
    #[schema(format = Password)]
    current_password: Option<String>,
}

impl From<NewPhone> for NewAddress {
    fn from(new: NewPhone) -> Self {
        Self { address: new.phone, current_password: new.current_password.map(Into::into) }
    }
}

/// That a link is on its way.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkSent {
    /// From when on it is good for nothing.
    expires_at: String,
}

impl From<StoredLink> for LinkSent {
    fn from(sent: StoredLink) -> Self {
        Self { expires_at: instant(sent.expires_at) }
    }
}

impl Example for LinkSent {
    fn example() -> Self {
        Self { expires_at: EXAMPLE_INSTANT.to_owned() }
    }
}

/// What the code that was sent is to be brought back with.
#[derive(Serialize, ToSchema)]
pub(crate) struct PhoneChallenge {
    /// For `POST /v1/auth/verify-phone`, once.
    phone_token: String,
    /// From when on token and code are good for nothing.
    expires_at: String,
}

impl From<StoredChallenge> for PhoneChallenge {
    fn from(challenge: StoredChallenge) -> Self {
        Self {
            phone_token: challenge.phone_token.as_str().to_owned(),
            expires_at: instant(challenge.expires_at),
        }
    }
}

impl Example for PhoneChallenge {
    fn example() -> Self {
        Self {
            phone_token: "phonechange_tenant_secret".to_owned(),
            expires_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// A link that proves an address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyEmail {
    /// What stood in the link as `token`; good for one use.
    #[schema(format = Password)]
    pub(crate) token: String,
}

/// A code that proves a phone number.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyPhone {
    /// Of the answer that announced the code.
    #[schema(format = Password)]
    pub(crate) phone_token: String,
    /// Six digits.
    #[schema(format = Password)]
    pub(crate) code: String,
}

/// Somebody who came by the caller's referral code.
#[derive(Serialize, ToSchema)]
pub(crate) struct Referral {
    /// The user's id.
    id: Uuid,
    /// Whether they may sign in.
    is_active: bool,
    /// When they came.
    created_at: String,
}

impl From<StoredReferral> for Referral {
    fn from(referral: StoredReferral) -> Self {
        Self {
            id: referral.id,
            is_active: referral.is_active,
            created_at: instant(referral.created_at),
        }
    }
}

impl Example for Referral {
    fn example() -> Self {
        Self { id: EXAMPLE_ID, is_active: true, created_at: EXAMPLE_INSTANT.to_owned() }
    }
}
