//! Enrolling a passkey with the token of a sign-in whose role requires a factor: its end
//! is a session. Refuses to know how a passkey is stored (`register`'s).

use std::sync::Arc;

use operation::OperationError;
use tenancy::RequestInfo;

use super::{
    PasskeyRegistration, authority::PasskeyOwner, ceremony::CreationOptions,
    register::PasskeyRegistered,
};
use crate::{
    ConsoleGrant, Identity, TokenGrant,
    mfa::{Pending, Purpose, no_pending_state},
    session_begin::{Assurance, Begun, Entrant, SessionBegin, SessionFor},
};

impl Identity {
    /// What a browser needs to make the passkey that a sign-in requires. 401
    /// `invalid_token`; 422 `method_unavailable`, `passkeys_unavailable`.
    pub async fn required_passkey_options(
        &self,
        token: &str,
        from: Arc<RequestInfo>,
    ) -> Result<CreationOptions, OperationError> {
        self.enrolment_options(token, (SessionFor::Client, from)).await
    }

    /// As [`Identity::required_passkey_options`], for the console.
    pub async fn required_console_passkey_options(
        &self,
        token: &str,
        from: Arc<RequestInfo>,
    ) -> Result<CreationOptions, OperationError> {
        self.enrolment_options(token, (SessionFor::Console, from)).await
    }

    /// Stores that passkey and finishes the sign-in. 401 `invalid_token`, and the refusals
    /// of [`Identity::register_passkey`].
    pub async fn register_required_passkey(
        &self,
        token: &str,
        registration: PasskeyRegistration,
        from: Arc<RequestInfo>,
    ) -> Result<(PasskeyRegistered, TokenGrant), OperationError> {
        let how = (SessionFor::Client, from);
        let (made, begun) = self.enrol_passkey(token, registration, how).await?;
        Ok((made, self.tokens_of(&begun)?))
    }

    /// As [`Identity::register_required_passkey`], for the console.
    pub async fn register_required_console_passkey(
        &self,
        token: &str,
        registration: PasskeyRegistration,
        from: Arc<RequestInfo>,
    ) -> Result<(PasskeyRegistered, ConsoleGrant), OperationError> {
        let how = (SessionFor::Console, from);
        let (made, begun) = self.enrol_passkey(token, registration, how).await?;
        Ok((made, Self::cookie_of(&begun)))
    }

    async fn enrolment_options(
        &self,
        token: &str,
        (session_for, from): (SessionFor, Arc<RequestInfo>),
    ) -> Result<CreationOptions, OperationError> {
        let pending = self.pending(token, (Purpose::Enrolment, session_for), from).await?;
        let (owner, state) = (owner(&pending), Arc::clone(&pending.state));
        self.begin_registration(&pending.context, state, owner, pending.username_key).await
    }

    async fn enrol_passkey(
        &self,
        token: &str,
        registration: PasskeyRegistration,
        (session_for, from): (SessionFor, Arc<RequestInfo>),
    ) -> Result<(PasskeyRegistered, Begun), OperationError> {
        let pending = self.pending(token, (Purpose::Enrolment, session_for), from).await?;
        let owner = owner(&pending);
        let Pending { user, username_key, context, state, .. } = pending;
        let entrant = Entrant::named(&state, user, username_key);
        let how = (session_for, Assurance::Passkey);
        let (begin, secret) = SessionBegin::prepare(&context, &state, entrant, how)?;
        let whose = (Arc::clone(&state), owner);
        let (made, accepted) =
            self.register_for(&context, whose, registration, Some(begin)).await?;
        let accepted = accepted.ok_or_else(no_pending_state)?;
        Ok((made, self.begun((&context, &state), accepted, secret)))
    }
}

fn owner(pending: &Pending) -> PasskeyOwner {
    PasskeyOwner { user: pending.user, authority: pending.authority() }
}
