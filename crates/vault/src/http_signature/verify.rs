//! Reading and verifying signatures (RFC 9421 sections 3.2 and 4). It refuses to know where keys
//! come from and whether a nonce was seen before.

use super::SignatureError;
use super::base::{TEXT_BYTES_MAX, signature_base};
use super::component::Component;
use super::keys::MessageVerifyingKey;
use super::message::{FieldLine, Message, combined, lines};
use super::structured::{Bare, Dictionary, Item, Member, Parameters};

/// The most signatures that a message may carry.
const SIGNATURES_MAX: usize = 8;

/// What a message's signature fields say. Nothing of it is proven.
#[derive(Clone, Debug)]
pub struct Signatures(Vec<ReceivedSignature>);

impl Signatures {
    /// Reads `Signature-Input` and `Signature`.
    pub fn read(fields: &[FieldLine<'_>]) -> Result<Self, SignatureError> {
        let (inputs, values) = (lines(fields, "signature-input"), lines(fields, "signature"));
        if inputs.is_empty() && values.is_empty() {
            return Err(SignatureError::Absent);
        }
        let (inputs, values) = (dictionary(&inputs)?, dictionary(&values)?);
        // A label in one of them only is a signature that somebody has tampered with.
        if inputs.0.is_empty()
            || inputs.0.len() > SIGNATURES_MAX
            || inputs.0.len() != values.0.len()
        {
            return Err(SignatureError::Malformed);
        }
        let read = |(label, input): (String, Member)| {
            let Some(Member::Item(Item { value: Bare::Bytes(signature), .. })) = values.get(&label)
            else {
                return Err(SignatureError::Malformed);
            };
            ReceivedSignature::read(label, input, signature.clone())
        };
        inputs.0.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Each, in the order of `Signature-Input`.
    pub fn all(&self) -> &[ReceivedSignature] {
        &self.0
    }
}

fn dictionary(lines: &[&[u8]]) -> Result<Dictionary, SignatureError> {
    let text = combined(lines).ok_or(SignatureError::Malformed)?;
    Dictionary::parse(&text).map_err(|_| SignatureError::Malformed)
}

/// One signature as it was received. Nothing of it is proven before [`Self::verify`].
#[derive(Clone, Debug)]
pub struct ReceivedSignature {
    label: String,
    covered: Vec<Item>,
    told: Told,
    /// Covered components and parameters in their canonical form.
    parameters: String,
    signature: Vec<u8>,
}

/// What a signature says of itself.
#[derive(Clone, Debug, Default)]
struct Told {
    created_s: Option<i64>,
    expires_s: Option<i64>,
    algorithm: Option<String>,
    key_id: Option<String>,
    nonce: Option<String>,
    tag: Option<String>,
    /// A parameter that we do not know and so cannot honour.
    unknown: Option<String>,
}

/// What a caller wants of a signature.
#[derive(Clone, Copy, Debug)]
pub struct Expectations<'a> {
    /// Now, seconds since the Unix epoch.
    pub now_s: i64,
    /// How long after `created` a signature is taken.
    pub lifetime_s: u32,
    /// How far in the future `created` may lie, for clocks that differ.
    pub leeway_s: u32,
    /// What the signature is for; `None` takes any tag and none.
    pub tag: Option<&'a str>,
    /// Whether it has to bear a nonce, so that the caller can take it only once.
    pub needs_nonce: bool,
    /// What has to be covered, at least.
    pub covered: &'a [Component],
}

/// A signature that verified, was of its time and covered what it had to. Only
/// [`ReceivedSignature::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedSignature {
    /// The key that made it.
    pub key_id: String,
    /// `created`.
    pub created_s: i64,
    /// When it will be taken no more: the end of its lifetime or `expires`. A nonce has to be
    /// remembered until then.
    pub taken_until_s: i64,
    /// `nonce`, which tells a second use of one signature; its bytes do not, because whoever has
    /// one of ECDSA can write it in another way.
    pub nonce: Option<String>,
    /// `tag`.
    pub tag: Option<String>,
    /// What it covers.
    pub covered: Vec<Component>,
}

impl ReceivedSignature {
    fn read(label: String, input: Member, signature: Vec<u8>) -> Result<Self, SignatureError> {
        let parameters = input.to_string();
        let Member::Inner(covered, told) = input else { return Err(SignatureError::Malformed) };
        let told = Told::read(told)?;
        Ok(Self { label, covered, told, parameters, signature })
    }

    /// Its label, which no signature covers.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The key that it claims to be of.
    pub fn key_id(&self) -> Option<&str> {
        self.told.key_id.as_deref()
    }

    /// What it claims to be for.
    pub fn tag(&self) -> Option<&str> {
        self.told.tag.as_deref()
    }

    /// Verifies it with a key that the caller trusts, over the message as it was received.
    pub fn verify(
        &self,
        message: &Message<'_>,
        key: &MessageVerifyingKey,
        expectations: &Expectations<'_>,
    ) -> Result<VerifiedSignature, SignatureError> {
        let told = &self.told;
        if expectations.tag.is_some_and(|tag| told.tag.as_deref() != Some(tag)) {
            return Err(SignatureError::WrongTag);
        }
        if told.key_id.as_deref() != Some(key.key_id()) {
            return Err(SignatureError::WrongKey);
        }
        if told.algorithm.as_deref().is_some_and(|name| name != key.algorithm().as_str()) {
            return Err(SignatureError::WrongAlgorithm);
        }
        if let Some(name) = &told.unknown {
            return Err(SignatureError::Unsupported(name.clone()));
        }
        let covered = self.covered.iter().cloned().map(Component::from_item);
        let covered = covered.collect::<Result<Vec<_>, _>>()?;
        let (created_s, taken_until_s) = told.times(expectations)?;
        if expectations.needs_nonce && told.nonce.as_ref().is_none_or(String::is_empty) {
            return Err(SignatureError::NoNonce);
        }
        if let Some(wanted) = expectations.covered.iter().find(|wanted| !covered.contains(wanted)) {
            return Err(SignatureError::Uncovered(wanted.to_string()));
        }
        let base = signature_base(message, &covered, &self.parameters)?;
        if !key.verifies(base.as_bytes(), &self.signature) {
            return Err(SignatureError::BadSignature);
        }
        Ok(VerifiedSignature {
            key_id: key.key_id().to_owned(),
            created_s,
            taken_until_s,
            nonce: told.nonce.clone(),
            tag: told.tag.clone(),
            covered,
        })
    }
}

impl Told {
    fn read(parameters: Parameters) -> Result<Self, SignatureError> {
        let mut told = Self::default();
        for (name, value) in parameters.0 {
            // Who takes a nonce only once has to keep it.
            if matches!(&value, Bare::String(text) if text.len() > TEXT_BYTES_MAX) {
                return Err(SignatureError::Malformed);
            }
            match (name.as_str(), value) {
                ("created", Bare::Integer(value)) => told.created_s = Some(value),
                ("expires", Bare::Integer(value)) => told.expires_s = Some(value),
                ("alg", Bare::String(value)) => told.algorithm = Some(value),
                ("keyid", Bare::String(value)) => told.key_id = Some(value),
                ("nonce", Bare::String(value)) => told.nonce = Some(value),
                ("tag", Bare::String(value)) => told.tag = Some(value),
                ("created" | "expires" | "alg" | "keyid" | "nonce" | "tag", _) => {
                    return Err(SignatureError::Malformed);
                }
                _ => told.unknown = Some(name),
            }
        }
        Ok(told)
    }

    /// When it was made and until when it is taken, if that is now.
    fn times(&self, expectations: &Expectations<'_>) -> Result<(i64, i64), SignatureError> {
        let created_s = self.created_s.ok_or(SignatureError::Undated)?;
        let now_s = expectations.now_s;
        if created_s > now_s.saturating_add(expectations.leeway_s.into()) {
            return Err(SignatureError::NotYetValid);
        }
        let lifetime_end_s = created_s.saturating_add(expectations.lifetime_s.into());
        let taken_until_s = self.expires_s.map_or(lifetime_end_s, |end| end.min(lifetime_end_s));
        if now_s >= taken_until_s {
            return Err(SignatureError::Expired);
        }
        Ok((created_s, taken_until_s))
    }
}
