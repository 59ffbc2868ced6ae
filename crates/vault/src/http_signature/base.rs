//! The signature base (RFC 9421 section 2.5): the text that is signed. It refuses to know keys.

use std::fmt::Write as _;

use super::SignatureError;
use super::component::Component;
use super::message::Message;

/// The most components that a signature may cover.
const COMPONENTS_MAX: usize = 64;
/// The longest text that a signature says of itself, such as its nonce, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 256;
/// The longest signature base, in bytes.
const BASE_BYTES_MAX: usize = 128 * 1024;

/// The base over components in their order; `parameters` is the inner list of both in its
/// canonical form, as it stands behind the label.
pub(super) fn signature_base(
    message: &Message<'_>,
    components: &[Component],
    parameters: &str,
) -> Result<String, SignatureError> {
    if components.len() > COMPONENTS_MAX {
        return Err(SignatureError::TooLarge);
    }
    let mut base = String::new();
    for (at, component) in components.iter().enumerate() {
        if components[..at].contains(component) {
            return Err(SignatureError::Repeated(component.to_string()));
        }
        let value = message.value(component)?;
        if base.len() + value.len() > BASE_BYTES_MAX {
            return Err(SignatureError::TooLarge);
        }
        // Writing to a string cannot fail.
        let _ = writeln!(base, "{component}: {value}");
    }
    let _ = write!(base, "\"@signature-params\": {parameters}");
    Ok(base)
}
