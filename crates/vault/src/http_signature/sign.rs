//! Making signatures (RFC 9421 section 3.1). It refuses to know what should be covered.

use super::SignatureError;
use super::base::{TEXT_BYTES_MAX, signature_base};
use super::component::Component;
use super::keys::MessageSigningKey;
use super::message::Message;
use super::structured::{Bare, Parameters, is_key, is_string};

/// The greatest Integer of a structured field.
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// What a signature says of itself, besides its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureParameters {
    /// `created`, seconds since the Unix epoch.
    pub created_s: Option<i64>,
    /// `expires`, seconds since the Unix epoch.
    pub expires_s: Option<i64>,
    /// Whether `alg` is told. Who verifies knows it with the key.
    pub names_algorithm: bool,
    /// `nonce`.
    pub nonce: Option<String>,
    /// `tag`: what the signature is for.
    pub tag: Option<String>,
}

/// A signature's two fields, to be added beside those that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFields {
    /// The value of `Signature-Input`.
    pub input: String,
    /// The value of `Signature`.
    pub signature: String,
}

/// Signs components of a message under a label that the message has not used yet.
pub fn sign(
    message: &Message<'_>,
    label: &str,
    components: &[Component],
    parameters: &SignatureParameters,
    key: &MessageSigningKey,
) -> Result<SignatureFields, SignatureError> {
    if !is_key(label) || label.len() > TEXT_BYTES_MAX {
        return Err(SignatureError::Malformed);
    }
    let covered: Vec<String> = components.iter().map(Component::to_string).collect();
    let parameters = written(parameters, key)?;
    let parameters = format!("({}){parameters}", covered.join(" "));
    let base = signature_base(message, components, &parameters)?;
    let signature = Bare::Bytes(key.sign(base.as_bytes()));
    Ok(SignatureFields {
        input: format!("{label}={parameters}"),
        signature: format!("{label}={signature}"),
    })
}

fn written(
    parameters: &SignatureParameters,
    key: &MessageSigningKey,
) -> Result<Parameters, SignatureError> {
    let number = |value: Option<i64>| value.map(Bare::Integer);
    let text = |value: &Option<String>| value.clone().map(Bare::String);
    let algorithm = key.algorithm().as_str().to_owned();
    let listed = [
        ("created", number(parameters.created_s)),
        ("expires", number(parameters.expires_s)),
        ("keyid", Some(Bare::String(key.key_id().to_owned()))),
        ("alg", parameters.names_algorithm.then_some(Bare::String(algorithm))),
        ("nonce", text(&parameters.nonce)),
        ("tag", text(&parameters.tag)),
    ];
    let present = listed.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let parameters = Parameters(present.collect());
    let can_be = parameters.0.iter().all(|(_, value)| match value {
        Bare::Integer(value) => value.unsigned_abs() <= INTEGER_MAX,
        Bare::String(text) => text.len() <= TEXT_BYTES_MAX && is_string(text),
        _ => false,
    });
    if can_be { Ok(parameters) } else { Err(SignatureError::Malformed) }
}
