//! Signed requests (RFC 9421, RFC 9530): a signature that is there is verified, whatever the
//! route, and one that policy demands has to be there.
//!
//! It must cover who asks (`authorization`), what for (method, target, content) and the headers
//! that change what a command does, so that nothing of one request can be put into another; its
//! nonce is taken once, last of all. It refuses to know keys and nonces, which are identity's,
//! and says to nobody why a signature was refused: the tenant's log does.

use std::sync::Arc;

use axum::extract::Request;
use http::{HeaderMap, header, request::Parts};
use tenancy::{DbError, OpContext, RequestInfo, policy::SecurityPolicy};
use uuid::Uuid;
use vault::http_signature::{
    Component, Expectations, FieldLine, Message, MessageVerifyingKey, ReceivedSignature,
    SignatureError, Signatures, VerifiedSignature, check_content_digest,
};

use identity::SignatureFault;

use crate::{
    MAXIMUM_BATCH_BYTES, extract::UnsignedLimit, json, problem::Problem, route::SignatureDemand,
    state::ApiState,
};

/// How far `created` may lie from now, on either side.
const CREATED_WITHIN_S: u32 = 300;

/// What a signature covers in any case.
const ALWAYS: [&str; 2] = ["@method", "authorization"];
/// What it covers where it is sent: each changes what is done.
const WHERE_SENT: [&str; 2] = ["idempotency-key", "if-match"];
/// The request's target, whole or in its parts.
const WHOLE_TARGET: &str = "@target-uri";
const TARGET_PARTS: [&str; 3] = ["@authority", "@path", "@query"];

/// What policy wants of a request.
#[derive(Clone, Copy)]
pub(super) enum Demands {
    /// Nothing.
    Nothing,
    /// A signature.
    Signature,
    /// A signature where it moves more than this.
    SignatureAbove(i64),
}

impl Demands {
    pub(super) fn of(policy: &SecurityPolicy, demand: SignatureDemand) -> Self {
        match (policy.require_signature, demand, policy.transfer_ceiling_minor) {
            (true, SignatureDemand::Always, _) => Self::Signature,
            (true, SignatureDemand::OverCeiling, Some(ceiling)) => Self::SignatureAbove(ceiling),
            _ => Self::Nothing,
        }
    }
}

/// The request as it may go on: signed by a key of the caller's, which stands in their context
/// from here on, or unsigned where that is enough.
pub(super) async fn checked(
    state: &ApiState,
    caller: &mut OpContext,
    demands: Demands,
    mut request: Request,
) -> Result<Request, Problem> {
    if is_signed(request.headers()) {
        return verified(state, caller, request).await;
    }
    match demands {
        Demands::Nothing => {}
        Demands::Signature => return Err(state.identity.refuse_unsigned(caller).await.into()),
        Demands::SignatureAbove(ceiling) => {
            request.extensions_mut().insert(UnsignedLimit(ceiling));
        }
    }
    Ok(request)
}

/// Half a signature is one as well: whoever took the other half away must not make it unsigned.
fn is_signed(headers: &HeaderMap) -> bool {
    ["signature", "signature-input"].into_iter().any(|name| headers.contains_key(name))
}

async fn verified(
    state: &ApiState,
    caller: &mut OpContext,
    request: Request,
) -> Result<Request, Problem> {
    // Handlers have bounds of their own, none above this one.
    let (request, content) = json::peeked(request, MAXIMUM_BATCH_BYTES).await?;
    let (parts, body) = request.into_parts();
    let mut named = None;
    match accepted(state, caller, (&parts, &content), &mut named).await {
        Ok(key) => {
            let signed = RequestInfo { signed_by: Some(key), ..(*caller.request).clone() };
            caller.request = Arc::new(signed);
            Ok(Request::from_parts(parts, body))
        }
        Err(Refused::Fault(fault)) => {
            Err(state.identity.refuse_signature(caller, (named, fault)).await.into())
        }
        Err(Refused::Database(error)) => Err(error.into()),
    }
}

/// Why a signature was not accepted, or could not be looked at.
enum Refused {
    Fault(SignatureFault),
    Database(DbError),
}

impl From<SignatureFault> for Refused {
    fn from(fault: SignatureFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<SignatureError> for Refused {
    fn from(error: SignatureError) -> Self {
        Self::Fault(SignatureFault::Signature(error))
    }
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// The key whose signature this is. `named` is told which one the signature claims, for the
/// record of what was refused.
async fn accepted(
    state: &ApiState,
    caller: &OpContext,
    (parts, content): (&Parts, &[u8]),
    named: &mut Option<Uuid>,
) -> Result<Uuid, Refused> {
    let fields = fields_of(&parts.headers);
    let signatures = Signatures::read(&fields)?;
    let [signature] = signatures.all() else { return Err(SignatureFault::Several.into()) };
    let key_id = signature.key_id().and_then(|id| Uuid::try_parse(id).ok());
    *named = key_id;
    let key_id = key_id.ok_or(SignatureFault::UnknownKey)?;
    let key = state.identity.client_verifier(caller, key_id).await??;
    let now_s = caller.clock.now().as_second();
    let signature = covering(state, signature, (&key, now_s), (parts, &fields, content))?;
    let has_digest = parts.headers.contains_key("content-digest");
    if !content.is_empty() || has_digest {
        check_content_digest(&fields, content).map_err(SignatureFault::Digest)?;
    }
    if !state.identity.take_nonce(caller, key_id, &signature).await? {
        return Err(SignatureFault::Replayed.into());
    }
    Ok(key_id)
}

/// The signature, where it is the key's, of now, and over everything that it has to be over.
fn covering(
    state: &ApiState,
    signature: &ReceivedSignature,
    (key, now_s): (&MessageVerifyingKey, i64),
    (parts, fields, content): (&Parts, &[FieldLine<'_>], &[u8]),
) -> Result<VerifiedSignature, SignatureError> {
    let sent = WHERE_SENT.into_iter().filter(|name| parts.headers.contains_key(*name));
    let digest = (!content.is_empty()).then_some("content-digest");
    let covered: Vec<Component> = (ALWAYS.into_iter().chain(sent).chain(digest))
        .map(Component::parse)
        .collect::<Result<_, _>>()?;
    let expectations = Expectations {
        now_s,
        lifetime_s: CREATED_WITHIN_S,
        leeway_s: CREATED_WITHIN_S,
        tag: None,
        needs_nonce: true,
        covered: &covered,
    };
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).or(host);
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let https = state.config.public_url.starts_with("https://");
    let message = Message::Request(vault::http_signature::Request {
        method: parts.method.as_str(),
        scheme: if https { "https" } else { "http" },
        authority: authority.unwrap_or_default(),
        target,
        fields,
    });
    let verified = signature.verify(&message, key, &expectations)?;
    let covers = |name: &str| {
        Component::parse(name).is_ok_and(|component| verified.covered.contains(&component))
    };
    if !covers(WHOLE_TARGET)
        && let Some(missing) = TARGET_PARTS.into_iter().find(|part| !covers(part))
    {
        return Err(SignatureError::Uncovered(missing.to_owned()));
    }
    Ok(verified)
}

fn fields_of(headers: &HeaderMap) -> Vec<FieldLine<'_>> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}
