//! Proving a factor for one payment (RTS 2018/389, article 5): amount, currency and both
//! accounts are fixed as the proof is asked for, and named to whoever gives it.
//!
//! What is asked for stands as a challenge of the session, bound to the payment: the code
//! that is sent, the challenge that an authenticator signs, or the time step of an app
//! proves this one and no other. What it gives is an authorisation of this payment alone,
//! for this person in this session, for five minutes, once; it opens nothing else, and the
//! session goes on as it was. Refuses to know money: who may pay whom, how amounts read,
//! when a proof is due and its use are banking's.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::{SignedDuration, Timestamp};
use operation::{Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, Query, SessionId, TenantTx};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Method, Parameters, Proven, Typed,
    challenge::{self, NewChallenge, Owner, Purpose, consume},
    enrol::method_unavailable,
    manage::no_factor,
    proof::Claim,
    sign_in::send_to_factor,
};
use crate::{
    Identity,
    claims::token_revoked,
    events::about,
    login::device_fingerprint,
    passkeys::{PasskeyProof, RequestOptions},
    session_begin,
    sessions::own_user,
    tenant_state::TenantState,
};

const FIND: &str = tenancy::sql!("identity/mfa.sql", "find_by_payment");
const VOID: &str = tenancy::sql!("identity/mfa.sql", "void_payment");
const AUTHORISE: &str = tenancy::sql!("identity/mfa.sql", "authorise_payment");
const FORGET: &str = tenancy::sql!("identity/mfa.sql", "forget_authorisations");

/// How long a payment may be made after it was proven.
const LIFETIME: SignedDuration = SignedDuration::from_secs(5 * 60);

/// A payment that a proof is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The account that pays.
    pub from_account_id: Uuid,
    /// The account that is paid.
    pub to_account_id: Uuid,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// A payment that was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentProven {
    /// The authorisation's id.
    pub id: Uuid,
    /// Until when the payment may be made with it.
    pub expires_at: Timestamp,
    /// With what.
    pub proven: Proven,
}

impl Payment {
    fn values(&self) -> Value {
        json!({
            "from_account_id": self.from_account_id,
            "to_account_id": self.to_account_id,
            "amount": self.amount,
            "currency": self.currency,
        })
    }
}

impl Identity {
    /// Asks for the proof of a payment: a code is sent that says what it is for (`purpose`,
    /// "to pay …"), or what an app or a backup code will prove is fixed. The one before, of
    /// the same payment, is void. 422 `method_unavailable`, 429.
    pub async fn ask_payment_proof(
        &self,
        context: &OpContext,
        method: Method,
        payment: Payment,
        purpose: &str,
    ) -> Result<(), OperationError> {
        if method == Method::Passkey {
            return Err(method_unavailable().into());
        }
        self.ask(context, method, payment, purpose).await.map(drop)
    }

    /// As [`Identity::ask_payment_proof`], by passkey: what a browser needs.
    pub async fn passkey_payment_options(
        &self,
        context: &OpContext,
        payment: Payment,
        purpose: &str,
    ) -> Result<RequestOptions, OperationError> {
        let challenge = self.ask(context, Method::Passkey, payment, purpose).await?;
        self.payment_options(context, challenge).await
    }

    async fn ask(
        &self,
        context: &OpContext,
        method: Method,
        payment: Payment,
        purpose: &str,
    ) -> Result<Uuid, OperationError> {
        let user = own_user(context)?;
        let SessionId(session) = context.session.ok_or_else(token_revoked)?;
        let state = self.state(context).await?;
        let purpose = purpose.to_owned();
        let command = AskPaymentProof { user, session, method, payment, purpose, state };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        Ok(self.inner.operations.run_one(call).await?.output)
    }

    /// Proves a payment by a code. 403 `step_up_required` where nothing was asked for this
    /// very payment, `account_locked`; 401 `invalid_code`; 422 `no_factor`; 429.
    pub async fn prove_payment(
        &self,
        context: &OpContext,
        payment: Payment,
        method: Option<Method>,
        code: Zeroizing<String>,
    ) -> Result<PaymentProven, OperationError> {
        self.payment_proven(context, payment, Typed::code(method, code)).await
    }

    /// As [`Identity::prove_payment`], by passkey.
    pub async fn prove_payment_by_passkey(
        &self,
        context: &OpContext,
        payment: Payment,
        proof: PasskeyProof,
    ) -> Result<PaymentProven, OperationError> {
        let typed = self.as_presented(proof)?;
        self.payment_proven(context, payment, typed).await
    }

    async fn payment_proven(
        &self,
        context: &OpContext,
        payment: Payment,
        typed: Typed,
    ) -> Result<PaymentProven, OperationError> {
        let (identity, context) = (self.clone(), context.clone());
        // As with a sign-in: who hangs up must not leave a charge without its record.
        let whole = async move { identity.payment_proven_whole(&context, payment, typed).await };
        tokio::spawn(whole).await.unwrap_or(Err(OperationError::Aborted))
    }

    async fn payment_proven_whole(
        &self,
        context: &OpContext,
        payment: Payment,
        mut typed: Typed,
    ) -> Result<PaymentProven, OperationError> {
        let user = own_user(context)?;
        let SessionId(session) = context.session.ok_or_else(token_revoked)?;
        let state = self.state(context).await?;
        // Who has nothing to prove anything with is not guessing, and neither is who proves
        // what was never asked: no code could be right.
        if self.factors_of(context, user).await?.is_empty() {
            return Err(self.refuse_factor(context, user, no_factor()).await);
        }
        let challenge = self.challenge_of_payment(context, (user, session), &payment).await?;
        let Some(challenge) = challenge else {
            return Err(self.refuse_factor(context, user, not_asked()).await);
        };
        if let Some(presented) = &mut typed.passkey {
            presented.bind_to(challenge);
        }
        let whose = (user, Some(challenge));
        let charge = self.charge_factor(context, &state, whose, typed.method).await?;
        let claim = Claim { state: Arc::clone(&state), charge, typed };
        let command = ProvePayment { claim, challenge, session, payment };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        Ok(self.inner.operations.run_one(call).await?.output)
    }

    /// The newest challenge of a session for exactly this payment.
    async fn challenge_of_payment(
        &self,
        context: &OpContext,
        (user, session): (Uuid, Uuid),
        payment: &Payment,
    ) -> Result<Option<Uuid>, DbError> {
        let tenant = context.tenant_id();
        let parameters: Parameters<'_, 7> = [
            &tenant,
            &session,
            &user,
            &payment.from_account_id,
            &payment.to_account_id,
            &payment.amount,
            &payment.currency,
        ];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(FIND, &parameters)).await?;
        Ok(rows.first().map(|row| row.try_get("id")).transpose()?)
    }
}

fn not_asked() -> Refusal {
    let detail = "Nothing was asked for this payment, or it is over. Ask for it first \
        (POST /v1/auth/step-up/challenge)";
    Refusal::new(RefusalKind::Denied, "step_up_required", detail)
}

/// Fixes a payment as what is to be proven, and sends the code where one is sent.
struct AskPaymentProof {
    user: Uuid,
    session: Uuid,
    method: Method,
    payment: Payment,
    purpose: String,
    state: Arc<TenantState>,
}

impl Command for AskPaymentProof {
    const NAME: &'static str = "payment.ask_proof";
    const RESOURCE: &'static str = "user";
    /// One's own factor; `own_user` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = Uuid;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Uuid>, Failure> {
        session_begin::lock(transaction, context, self.user).await?;
        let held = super::held(transaction, self.user).await?;
        if !held.iter().any(|held| held.method == self.method) {
            return Err(method_unavailable().into());
        }
        let new = NewChallenge {
            user: self.user,
            purpose: Purpose::Payment,
            owner: Owner::Session(self.session),
            device: device_fingerprint(&self.state, &context.request),
            password_changed_at: None,
            payment: Some(self.payment.clone()),
        };
        let tenant = context.tenant_id();
        let payment = &self.payment;
        let void: Parameters<'_, 7> = [
            &tenant,
            &self.session,
            &self.user,
            &payment.from_account_id,
            &payment.to_account_id,
            &payment.amount,
            &payment.currency,
        ];
        transaction.execute(VOID, &void).await?;
        let id = challenge::begin(transaction, context, &new, &[]).await?;
        if self.method.is_sent() {
            let code = (self.method, Some(self.purpose.as_str()));
            send_to_factor(transaction, context, &self.state, ((self.user, id), code)).await?;
        }
        let event = about(context, EventType::ApiAccess, Self::NAME, (Some(self.user), None))
            .new_values(self.payment.values())
            .details(json!({ "challenge": id, "method": self.method }));
        Ok(Applied { output: id, status: 202, events: vec![event] })
    }
}

/// Turns a right proof into the authorisation of its payment.
struct ProvePayment {
    claim: Claim,
    challenge: Uuid,
    session: Uuid,
    payment: Payment,
}

impl Command for ProvePayment {
    const NAME: &'static str = "payment.prove";
    const RESOURCE: &'static str = "user";
    /// One's own factor; `own_user` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = PaymentProven;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<PaymentProven>, Failure> {
        let user = self.claim.charge.user;
        let account = session_begin::lock(transaction, context, user).await?;
        if account.is_none_or(|account| !account.is_active) {
            return Err(token_revoked().into());
        }
        let (proven, mut events) = self.claim.settle(transaction, context, Self::NAME).await?;
        // Another request proved it first.
        consume(transaction, self.challenge).await?.map_err(|_| not_asked())?;
        let id = context.clock.new_id();
        let expires_at = context.clock.now().checked_add(LIFETIME).unwrap_or(Timestamp::MAX);
        let (tenant, payment, method) =
            (context.tenant_id(), &self.payment, proven.method.as_str());
        let authorise: Parameters<'_, 10> = [
            &tenant,
            &id,
            &user,
            &self.session,
            &method,
            &expires_at,
            &payment.from_account_id,
            &payment.to_account_id,
            &payment.amount,
            &payment.currency,
        ];
        let forget: Parameters<'_, 2> = [&tenant, &user];
        transaction
            .pipeline(&[Query::new(FORGET, &forget), Query::new(AUTHORISE, &authorise)])
            .await?;
        events.push(
            about(context, EventType::ApiAccess, Self::NAME, (Some(user), None))
                .new_values(payment.values())
                .details(json!({ "authorisation": id, "method": proven.method })),
        );
        let output = PaymentProven { id, expires_at, proven };
        Ok(Applied { output, status: 200, events })
    }
}
