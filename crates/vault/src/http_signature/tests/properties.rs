//! For any message: what was signed verifies, what was changed does not, and nothing that a
//! stranger can send makes a reader fall over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::super::message::percent_encoded;
use super::super::structured::Bare;
use super::*;

/// Everything of a request that can be covered here.
const COVERABLE: [&str; 10] = [
    "@method",
    "@scheme",
    "@authority",
    "@target-uri",
    "@request-target",
    "@path",
    "@query",
    "\"@query-param\";name=\"p\"",
    "x-text",
    "\"x-bytes\";bs",
];

fn message() -> impl Strategy<Value = Owned> {
    let target = ("(/[a-zA-Z0-9%._~-]{0,8}){1,3}", "[a-zA-Z0-9%._~+-]{0,12}");
    (
        "[A-Z]{1,8}",
        prop_oneof![Just("http".to_owned()), Just("https".to_owned())],
        "[a-z0-9.-]{1,20}(:[0-9]{1,5})?",
        target,
        "[!-~]([ -~]{0,20}[!-~])?",
        prop::collection::vec(any::<u8>(), 1..20),
    )
        .prop_map(|(method, scheme, authority, (path, value), text, bytes)| Owned {
            method,
            scheme,
            authority,
            // Percent signs could say what is no text, and then there is no value to sign.
            target: format!("{path}?p={}", value.replace('%', "")),
            status: 200,
            fields: vec![("X-Text".to_owned(), text.into_bytes()), ("x-bytes".to_owned(), bytes)],
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_signed_verifies(
        message in message(),
        chosen in prop::sample::subsequence(COVERABLE.to_vec(), 0..=COVERABLE.len()).prop_shuffle(),
        which in 0..SignatureAlgorithm::ALL.len(),
    ) {
        let key = &keys()[which];
        let fields = message.sign(&chosen, key);
        let verified = message.signed(&fields).verify(key).unwrap();
        prop_assert_eq!(verified.covered, components(&chosen));
    }

    /// Where the value of a covered component changes, the signature falls; where none does, it
    /// stands.
    #[test]
    fn a_changed_component_fails(
        message in message(),
        other in message(),
        part in 0..6,
        chosen in prop::sample::subsequence(COVERABLE.to_vec(), 0..=COVERABLE.len()),
        which in 0..SignatureAlgorithm::ALL.len(),
    ) {
        let key = &keys()[which];
        let mut signed = message.clone().signed(&message.sign(&chosen, key));
        match part {
            0 => signed.method = other.method,
            1 => signed.scheme = other.scheme,
            2 => signed.authority = other.authority,
            3 => signed.target = other.target,
            4 => signed.fields[0].1.clone_from(&other.fields[0].1),
            _ => signed.fields[1].1.clone_from(&other.fields[1].1),
        }
        let same = chosen.iter().all(|text| signed.value(text) == message.value(text));
        let expected = if same { Ok(()) } else { Err(SignatureError::BadSignature) };
        prop_assert_eq!(signed.verify(key).map(drop), expected);
    }

    /// Any bit of anything: where it changes what a covered component says, the signature falls.
    #[test]
    fn a_changed_bit_fails(
        message in message(),
        part in 0..6,
        at in any::<prop::sample::Index>(),
        bit in 0..7_u8,
        chosen in prop::sample::subsequence(COVERABLE.to_vec(), 0..=COVERABLE.len()),
    ) {
        let mut signed = message.clone().signed(&message.sign(&chosen, key()));
        // Seven bits of ASCII are text whichever of them changes.
        let flipped = |text: &mut String| {
            let mut bytes = text.clone().into_bytes();
            bytes[at.index(text.len())] ^= 1 << bit;
            *text = String::from_utf8(bytes).unwrap();
        };
        match part {
            0 => flipped(&mut signed.method),
            1 => flipped(&mut signed.scheme),
            2 => flipped(&mut signed.authority),
            3 => flipped(&mut signed.target),
            4 => {
                let value = &mut signed.fields[0].1;
                let at = at.index(value.len());
                value[at] ^= 1 << bit;
            }
            _ => {
                let value = &mut signed.fields[1].1;
                let at = at.index(value.len());
                value[at] ^= 1 << bit;
            }
        }
        let same = chosen.iter().all(|text| signed.value(text) == message.value(text));
        prop_assert_eq!(signed.verify(key()).is_ok(), same);
    }

    #[test]
    fn a_changed_signature_fails(message in message(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        for key in keys() {
            let mut fields = message.sign(&COVERABLE, key);
            let encoded = fields.signature.trim_start_matches("sig=:").trim_end_matches(':');
            let mut bytes = STANDARD.decode(encoded).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            fields.signature = format!("sig={}", Bare::Bytes(bytes));
            let refused = message.clone().signed(&fields).verify(key);
            prop_assert_eq!(refused.unwrap_err(), SignatureError::BadSignature);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    /// However a form writes a name and a value, the component has them in one way.
    #[test]
    fn a_parameter_of_the_query_has_one_value(
        name in "[ -~é✓]{0,8}",
        value in "[ -~é✓]{0,8}",
        pluses in any::<bool>(),
        lower in any::<bool>(),
    ) {
        let written = |text: &str| {
            let text = percent_encoded(text);
            let text = if pluses { text.replace("%20", "+") } else { text };
            if lower { text.replace("%C3%A9", "%c3%a9").replace("%7E", "~") } else { text }
        };
        let target = format!("/?{}={}", written(&name), written(&value));
        let message = Owned { target, ..Owned::payment() };
        let component = Component::query_parameter(&name).unwrap();
        let found = message.request(|message| message.value(&component));
        prop_assert_eq!(found, Ok(percent_encoded(&value)));
    }

    /// Bytes, text, and text that is nearly right: read or refused, never believed.
    #[test]
    fn hostile_fields_never_panic_and_are_never_believed(
        method in ".{0,8}",
        authority in ".{0,16}|\\[?[a-z0-9:.]{0,12}\\]?:?[0-9]{0,6}",
        target in ".{0,24}|/?(%|\\+|&|=|p|\\?|#|[0-9a-f]|é){0,16}|https?://.{0,12}",
        input in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            near_miss().prop_map(String::into_bytes),
        ],
        signature in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "sig=:[A-Za-z0-9+/]{0,40}={0,2}:".prop_map(String::into_bytes),
            Just(b"sig=:YWJj:".to_vec()),
        ],
        field in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let message = Owned {
            method,
            authority,
            target,
            fields: vec![("x-text".to_owned(), field.clone()), ("priority".to_owned(), field)],
            ..Owned::payment()
        };
        let message = message.with("signature-input", &input).with("signature", &signature);
        for key in keys() {
            prop_assert!(message.verify(key).is_err());
        }
        let key = key().verifying_key().unwrap();
        let believed = message.response(&message, |message| {
            let signatures = Signatures::read(message.fields())?;
            signatures.all()[0].verify(message, &key, &expectations())
        });
        prop_assert!(believed.is_err());
        prop_assert!(check_content_digest(&[("content-digest", &input)], b"").is_err());
    }

    #[test]
    fn hostile_components_never_panic(text in ".{0,40}|\"[a-z@-]{0,16}\"(;(sf|bs|req|tr|key=\"[a-z]\"|name=\"[ -~]{0,4}\")){0,3}") {
        if let Ok(component) = Component::parse(&text) {
            prop_assert_eq!(Component::parse(&component.to_string()), Ok(component));
        }
        let _ = Component::query_parameter(&text);
    }
}

/// A `Signature-Input` of the right parts in nearly the right order.
fn near_miss() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        prop::sample::select(COVERABLE.to_vec()).prop_map(|text| component(text).to_string()),
        Just("\"priority\";sf".to_owned()),
        Just("\"priority\";key=\"u\"".to_owned()),
        Just("\"@method\";req".to_owned()),
        Just("\"@status\"".to_owned()),
        "[ -~]{0,6}",
    ];
    let said = format!("created={NOW_S};keyid=\"{KEY_ID}\"");
    (prop::collection::vec(part, 0..6), prop::bool::weighted(0.9), "(;[a-z]{1,4}(=[ -~]{0,4})?)?")
        .prop_map(move |(parts, closed, tail)| {
            let end = if closed { ")" } else { "" };
            format!("sig=({}{end};{said}{tail}", parts.join(" "))
        })
}
