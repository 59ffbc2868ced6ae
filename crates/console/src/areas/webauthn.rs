//! What goes to a browser's authenticator and comes back from it, in the standard's own
//! JSON (WebAuthn Level 3, sections 5.1.8 to 5.1.10), so that the page's script hands it
//! on as it is.
//!
//! What comes back is a field of a form like any other: `credential`. Refuses to judge it.

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::header;
use identity::{CreationOptions, Descriptor, PasskeyProof, PasskeyRegistration, RequestOptions};
use serde_json::{Value, json};

use crate::{fault::Fault, params::Params};

const PUBLIC_KEY: &str = "public-key";
/// The form's field.
const FIELD: &str = "credential";

/// `PublicKeyCredentialCreationOptionsJSON`, for an attribute of the page.
pub(super) fn creation(options: &CreationOptions) -> String {
    let algorithms = options.algorithms.map(|alg| json!({ "type": PUBLIC_KEY, "alg": alg }));
    json!({
        "rp": { "id": options.rp_id, "name": options.rp_name },
        "user": {
            "id": encoded(&options.user_handle),
            "name": options.username,
            "displayName": options.username,
        },
        "challenge": encoded(&options.challenge),
        "pubKeyCredParams": algorithms,
        "timeout": options.timeout_ms,
        "excludeCredentials": descriptors(&options.exclude),
        "authenticatorSelection": {
            "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
        },
        "attestation": "none",
    })
    .to_string()
}

/// `PublicKeyCredentialRequestOptionsJSON`, for the script that asked.
pub(super) fn request(options: &RequestOptions) -> Response {
    let body = json!({
        "challenge": encoded(&options.challenge),
        "timeout": options.timeout_ms,
        "rpId": options.rp_id,
        "allowCredentials": descriptors(&options.allow),
        "userVerification": "required",
    });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// What `navigator.credentials.create()` gave.
pub(super) fn registration(form: &Params) -> Result<PasskeyRegistration, Fault> {
    let credential = read(form)?;
    let response = &credential["response"];
    let transports = response["transports"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(PasskeyRegistration {
        credential_id: id(&credential)?,
        client_data: decoded(&response["clientDataJSON"])?,
        attestation: decoded(&response["attestationObject"])?,
        transports: transports.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        name: form.get("name").map(str::to_owned),
    })
}

/// What `navigator.credentials.get()` gave.
pub(super) fn proof(form: &Params) -> Result<PasskeyProof, Fault> {
    let credential = read(form)?;
    let response = &credential["response"];
    let handle = &response["userHandle"];
    Ok(PasskeyProof {
        credential_id: id(&credential)?,
        client_data: decoded(&response["clientDataJSON"])?,
        authenticator_data: decoded(&response["authenticatorData"])?,
        signature: decoded(&response["signature"])?,
        user_handle: if handle.is_null() { None } else { Some(decoded(handle)?) },
    })
}

/// Whether a form carries an authenticator's answer.
pub(super) fn is_in(form: &Params) -> bool {
    form.get(FIELD).is_some()
}

fn read(form: &Params) -> Result<Value, Fault> {
    let text = form.raw(FIELD).unwrap_or_default();
    serde_json::from_str(text).map_err(|_| unreadable())
}

fn id(credential: &Value) -> Result<Vec<u8>, Fault> {
    if credential["type"] != PUBLIC_KEY || credential["id"] != credential["rawId"] {
        return Err(unreadable());
    }
    decoded(&credential["rawId"])
}

fn decoded(value: &Value) -> Result<Vec<u8>, Fault> {
    let text = value.as_str().ok_or_else(unreadable)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| unreadable())
}

fn unreadable() -> Fault {
    Fault::malformed(FIELD)
}

fn descriptors(known: &[Descriptor]) -> Vec<Value> {
    let one = |known: &Descriptor| {
        let id = encoded(&known.credential_id);
        json!({ "type": PUBLIC_KEY, "id": id, "transports": known.transports })
    };
    known.iter().map(one).collect()
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{proof, registration};
    use crate::params::Params;

    fn form(credential: &str) -> Params {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.append_pair("credential", credential).append_pair("name", " Ring ");
        Params::parse(query.finish().as_bytes()).unwrap()
    }

    #[test]
    fn what_an_authenticator_said_is_read_and_nothing_else_is() {
        let made = r#"{"id":"AQ","rawId":"AQ","type":"public-key","later":1,"response":{
            "clientDataJSON":"Ag","attestationObject":"Aw","transports":["usb",7]}}"#;
        let made = registration(&form(made)).unwrap();
        assert_eq!(
            (made.credential_id, made.client_data, made.attestation),
            (vec![1], vec![2], vec![3],)
        );
        assert_eq!((made.transports, made.name.as_deref()), (vec!["usb".to_owned()], Some("Ring")));
        let proven = |handle: &str| {
            format!(
                r#"{{"id":"AQ","rawId":"AQ","type":"public-key","response":{{"clientDataJSON":"Ag",
                "authenticatorData":"Aw","signature":"BA","userHandle":{handle}}}}}"#
            )
        };
        assert_eq!(proof(&form(&proven("null"))).unwrap().user_handle, None);
        assert_eq!(proof(&form(&proven("\"BQ\""))).unwrap().user_handle, Some(vec![5]));
        for text in ["", "{", "null", "[]", "7", &proven("7"), &proven("\"=\"")] {
            assert!(proof(&form(text)).is_err(), "{text}");
        }
        let other = proven("null").replace("public-key", "password");
        assert!(proof(&form(&other)).is_err());
        assert!(proof(&form(&proven("null").replacen("AQ", "AA", 1))).is_err());
    }
}
