//! Published vectors: the W3C's own (Web Authentication Level 3, section 16, for the party
//! `example.org`). They are in no file of the tests' data, so they stand here.
#![allow(clippy::unwrap_used)]

use super::{
    Expected, Fault, RelyingParty,
    assertion::{Assertion, Stored},
    cose::CredentialKey,
    registration::{NewCredential, Registration},
};

/// Section 16.2, ES256 with no attestation: a registration and a proof of the same credential.
/// Its user was present and not verified; it can be backed up and is.
const NONE_CHALLENGE: &str = "00c30fb78531c464d2b6771dab8d7b603c01162f2fa486bea70f283ae556e130";
const NONE_CLIENT_DATA: &str = "7b2274797065223a22776562617574686e2e637265617465222c226368616c6c656e6765223a22414d4d507434557878475453746e63647134313759447742466938767049612d7077386f4f755657345441222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73652c22657874726144617461223a22636c69656e74446174614a534f4e206d617920626520657874656e6465642077697468206164646974696f6e616c206669656c647320696e20746865206675747572652c207375636820617320746869733a20426b5165446a646354427258426941774a544c453551227d";
const NONE_ATTESTATION: &str = "a363666d74646e6f6e656761747453746d74a068617574684461746158a4bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b559000000008446ccb9ab1db374750b2367ff6f3a1f0020f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856062eb249c33a9b672f26df61225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220";
const NONE_CREDENTIAL: &str = "f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4";
const NONE_PROOF_CHALLENGE: &str =
    "39c0e7521417ba54d43e8dc95174f423dee9bf3cd804ff6d65c857c9abf4d408";
const NONE_PROOF_CLIENT_DATA: &str = "7b2274797065223a22776562617574686e2e676574222c226368616c6c656e6765223a224f63446e55685158756c5455506f334a5558543049393770767a7a59425039745a63685879617630314167222c226f726967696e223a2268747470733a2f2f6578616d706c652e6f7267222c2263726f73734f726967696e223a66616c73657d";
const NONE_PROOF_DATA: &str =
    "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000";
const NONE_PROOF_SIGNATURE: &str = "3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd380221008480ac0f0b93538174f575bf11a1dd5d78c6e486013f937295ea13653e331e87";

fn hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn registered(party: &RelyingParty, user_verification: bool) -> Result<NewCredential, Fault> {
    let registration = Registration {
        credential_id: &hex(NONE_CREDENTIAL),
        client_data: &hex(NONE_CLIENT_DATA),
        attestation: &hex(NONE_ATTESTATION),
    };
    registration.verify(&Expected { party, challenge: &hex(NONE_CHALLENGE), user_verification })
}

#[test]
fn the_standards_own_credential_registers_and_proves_itself() {
    let party = RelyingParty::of("https://example.org").unwrap();
    let credential = registered(&party, false).unwrap();
    assert_eq!(credential.aaguid.to_string(), "8446ccb9-ab1d-b374-750b-2367ff6f3a1f");
    assert_eq!((credential.algorithm, credential.sign_count), (-7, 0));
    assert!(credential.backup_eligible && credential.backed_up);

    let stored = Stored {
        key: CredentialKey::from_bytes(&credential.public_key).unwrap(),
        credential_id: credential.credential_id,
        sign_count: 0,
        backup_eligible: true,
        user_handle: b"somebody".to_vec(),
    };
    let (data, client_data) = (hex(NONE_PROOF_DATA), hex(NONE_PROOF_CLIENT_DATA));
    let signature = hex(NONE_PROOF_SIGNATURE);
    let assertion = Assertion {
        credential_id: &stored.credential_id,
        client_data: &client_data,
        authenticator_data: &data,
        signature: &signature,
        user_handle: None,
    };
    let challenge = hex(NONE_PROOF_CHALLENGE);
    let expected = Expected { party: &party, challenge: &challenge, user_verification: false };
    let proven = assertion.verify(&expected, &stored, false).unwrap();
    assert!(proven.backed_up && !proven.user_verified && proven.sign_count == 0);
    // Its owner was not verified, so it would not do for us.
    let strict = Expected { user_verification: true, ..expected };
    let refused = assertion.verify(&strict, &stored, false).unwrap_err();
    assert_eq!(refused, Fault::UserNotVerified);
    assert_eq!(registered(&party, true).unwrap_err(), Fault::UserNotVerified);
    let elsewhere = RelyingParty::of("https://example.com").unwrap();
    assert_eq!(registered(&elsewhere, false).unwrap_err(), Fault::WrongOrigin);
}
