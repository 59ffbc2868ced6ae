//! A software authenticator and the browser around it: makes passkeys and proves them, as
//! honest or as crooked as a test wants.
//!
//! Everything that a real one decides is a public field to be bent before it is used. It is
//! written from the standard (WebAuthn Level 3, CTAP 2.1, RFC 9053) and shares no code with
//! what it tests.

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// User present.
pub const UP: u8 = 0x01;
/// User verified.
pub const UV: u8 = 0x04;
/// Backup eligible.
pub const BE: u8 = 0x08;
/// Backed up.
pub const BS: u8 = 0x10;
/// Attested credential data follow.
pub const AT: u8 = 0x40;
/// Extensions follow.
pub const ED: u8 = 0x80;

/// The algorithm of a passkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256, -7.
    Es256,
    /// Ed25519, -8.
    EdDsa,
    /// RSA PKCS#1 v1.5, -257.
    Rs256,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// One passkey and the authenticator that holds it.
pub struct Passkey {
    /// The site it was made for.
    pub rp_id: String,
    /// The page that asks.
    pub origin: String,
    /// Flags of what it says, without [`AT`].
    pub flags: u8,
    /// The last counter said; every proof says one more, unless it is zero.
    pub sign_count: u32,
    /// Its name.
    pub credential_id: Vec<u8>,
    /// Whose it is; given back by proofs.
    pub user_handle: Option<Vec<u8>>,
    /// The model.
    pub aaguid: [u8; 16],
    /// `none` or `packed` (signed by the credential itself).
    pub format: &'static str,
    /// Members added to the client data.
    pub client_extra: Value,
    pair: Pair,
}

/// What `navigator.credentials.create()` gives.
#[derive(Clone, Debug)]
pub struct Created {
    /// `rawId`.
    pub credential_id: Vec<u8>,
    /// `clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `attestationObject`.
    pub attestation: Vec<u8>,
}

/// What `navigator.credentials.get()` gives.
#[derive(Clone, Debug)]
pub struct Proof {
    /// `rawId`.
    pub credential_id: Vec<u8>,
    /// `clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `authenticatorData`.
    pub authenticator_data: Vec<u8>,
    /// `signature`.
    pub signature: Vec<u8>,
    /// `userHandle`.
    pub user_handle: Option<Vec<u8>>,
}

impl Passkey {
    /// A new passkey for the site at `origin`, whose id is its host; present and verified.
    pub fn new(kind: KeyKind, origin: &str) -> Self {
        let host = origin.split("://").nth(1).unwrap_or_default();
        let pair = match kind {
            KeyKind::Es256 => Pair::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a P-256 key"),
            ),
            KeyKind::EdDsa => Pair::Ed25519(Ed25519KeyPair::generate().expect("an Ed25519 key")),
            KeyKind::Rs256 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"))
            }
        };
        let mut credential_id = vec![0; 16];
        aws_lc_rs::rand::fill(&mut credential_id).expect("randomness");
        Self {
            rp_id: host.split(':').next().unwrap_or_default().to_owned(),
            origin: origin.to_owned(),
            flags: UP | UV,
            sign_count: 1,
            credential_id,
            user_handle: None,
            aaguid: [0; 16],
            format: "none",
            client_extra: json!({}),
            pair,
        }
    }

    /// Answers the options of a registration.
    pub fn create(&mut self, options: &Value) -> Created {
        self.user_handle = Some(decoded(&options["user"]["id"]));
        self.create_for(&decoded(&options["challenge"]))
    }

    /// Makes the credential known under a challenge.
    pub fn create_for(&self, challenge: &[u8]) -> Created {
        let client_data = self.client_data("webauthn.create", challenge);
        let data = self.authenticator_data(self.flags | AT, self.sign_count, &self.attested());
        let attestation = self.attestation(&data, &client_data);
        Created { credential_id: self.credential_id.clone(), client_data, attestation }
    }

    /// Answers the options of a proof.
    pub fn get(&mut self, options: &Value) -> Proof {
        self.get_for(&decoded(&options["challenge"]))
    }

    /// Proves itself under a challenge.
    pub fn get_for(&mut self, challenge: &[u8]) -> Proof {
        self.sign_count += u32::from(self.sign_count != 0);
        let client_data = self.client_data("webauthn.get", challenge);
        let data = self.authenticator_data(self.flags, self.sign_count, &[]);
        self.proof(client_data, data)
    }

    /// A proof over whatever is given.
    pub fn proof(&self, client_data: Vec<u8>, authenticator_data: Vec<u8>) -> Proof {
        let signed = [authenticator_data.as_slice(), &sha256(&client_data)].concat();
        Proof {
            credential_id: self.credential_id.clone(),
            signature: self.sign(&signed),
            client_data,
            authenticator_data,
            user_handle: self.user_handle.clone(),
        }
    }

    /// What the browser says of a ceremony.
    pub fn client_data(&self, ceremony: &str, challenge: &[u8]) -> Vec<u8> {
        let mut said = json!({
            "type": ceremony, "challenge": URL_SAFE_NO_PAD.encode(challenge),
            "origin": self.origin, "crossOrigin": false,
        });
        for (name, value) in self.client_extra.as_object().into_iter().flatten() {
            said[name] = value.clone();
        }
        said.to_string().into_bytes()
    }

    /// Hash, flags, counter and whatever follows.
    pub fn authenticator_data(&self, flags: u8, sign_count: u32, rest: &[u8]) -> Vec<u8> {
        [&sha256(self.rp_id.as_bytes())[..], &[flags], &sign_count.to_be_bytes(), rest].concat()
    }

    /// Attested credential data.
    pub fn attested(&self) -> Vec<u8> {
        self.attested_with(&self.cose_key())
    }

    /// Attested credential data with another key.
    pub fn attested_with(&self, cose_key: &[u8]) -> Vec<u8> {
        let length = u16::try_from(self.credential_id.len()).expect("a length of two bytes");
        [&self.aaguid[..], &length.to_be_bytes(), &self.credential_id, cose_key].concat()
    }

    /// The attestation object of this passkey's format.
    pub fn attestation(&self, authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
        let statement = if self.format == "packed" {
            let signed = [authenticator_data, &sha256(client_data)].concat();
            let algorithm = cbor::integer(self.algorithm());
            let signature = cbor::bytes(&self.sign(&signed));
            cbor::map(&[(cbor::text("alg"), algorithm), (cbor::text("sig"), signature)])
        } else {
            cbor::map(&[])
        };
        attestation_object(self.format, &statement, authenticator_data)
    }

    /// The COSE number of its algorithm.
    pub fn algorithm(&self) -> i64 {
        match self.pair {
            Pair::Ecdsa(_) => -7,
            Pair::Ed25519(_) => -8,
            Pair::Rsa(_) => -257,
        }
    }

    /// Its public key.
    pub fn cose_key(&self) -> Vec<u8> {
        let members: Vec<(i64, Vec<u8>)> = match &self.pair {
            Pair::Ecdsa(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let (two, one) = (cbor::integer(2), cbor::integer(1));
                vec![(1, two), (-1, one), (-2, cbor::bytes(x)), (-3, cbor::bytes(y))]
            }
            Pair::Ed25519(pair) => {
                let (one, six) = (cbor::integer(1), cbor::integer(6));
                vec![(1, one), (-1, six), (-2, cbor::bytes(pair.public_key().as_ref()))]
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero();
                let exponent = public.exponent().big_endian_without_leading_zero();
                let three = cbor::integer(3);
                vec![(1, three), (-1, cbor::bytes(modulus)), (-2, cbor::bytes(exponent))]
            }
        };
        let (kty, rest) = members.split_first().expect("a key has a type");
        let algorithm = (3, cbor::integer(self.algorithm()));
        let members = [kty.clone(), algorithm].into_iter().chain(rest.iter().cloned());
        let members: Vec<_> = members.map(|(label, value)| (cbor::integer(label), value)).collect();
        cbor::map(&members)
    }

    /// A signature of its private key.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).expect("signed").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("signed");
                signature
            }
        }
    }
}

impl Created {
    /// `PublicKeyCredential.toJSON()`.
    pub fn to_json(&self) -> Value {
        let id = URL_SAFE_NO_PAD.encode(&self.credential_id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
            "response": {
                "clientDataJSON": URL_SAFE_NO_PAD.encode(&self.client_data),
                "attestationObject": URL_SAFE_NO_PAD.encode(&self.attestation),
                "transports": ["internal", "hybrid"],
            },
        })
    }
}

impl Proof {
    /// `PublicKeyCredential.toJSON()`.
    pub fn to_json(&self) -> Value {
        let id = URL_SAFE_NO_PAD.encode(&self.credential_id);
        let handle = self.user_handle.as_ref().map(|handle| URL_SAFE_NO_PAD.encode(handle));
        json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
            "response": {
                "clientDataJSON": URL_SAFE_NO_PAD.encode(&self.client_data),
                "authenticatorData": URL_SAFE_NO_PAD.encode(&self.authenticator_data),
                "signature": URL_SAFE_NO_PAD.encode(&self.signature),
                "userHandle": handle,
            },
        })
    }
}

/// An attestation object of any parts.
pub fn attestation_object(format: &str, statement: &[u8], authenticator_data: &[u8]) -> Vec<u8> {
    cbor::map(&[
        (cbor::text("fmt"), cbor::text(format)),
        (cbor::text("attStmt"), statement.to_vec()),
        (cbor::text("authData"), cbor::bytes(authenticator_data)),
    ])
}

/// SHA-256.
pub fn sha256(message: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, message).as_ref().to_vec()
}

fn decoded(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap_or_else(|| panic!("no base64url text: {text}"));
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

pub mod cbor {
    //! Writes CBOR in the form that CTAP2 asks for.

    /// A number.
    pub fn integer(number: i64) -> Vec<u8> {
        if number < 0 {
            head(1, (-1 - number).unsigned_abs())
        } else {
            head(0, number.unsigned_abs())
        }
    }

    /// A byte string.
    pub fn bytes(bytes: &[u8]) -> Vec<u8> {
        [head(2, bytes.len() as u64), bytes.to_vec()].concat()
    }

    /// A text.
    pub fn text(text: &str) -> Vec<u8> {
        [head(3, text.len() as u64), text.as_bytes().to_vec()].concat()
    }

    /// An array of values that are written already.
    pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
        [head(4, items.len() as u64), items.concat()].concat()
    }

    /// A map of keys and values that are written already, in their order.
    pub fn map(members: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let count = head(5, members.len() as u64);
        members.iter().fold(count, |map, (key, value)| [map.as_slice(), key, value].concat())
    }

    fn head(major: u8, number: u64) -> Vec<u8> {
        let bytes = number.to_be_bytes();
        let (low, tail) = match number {
            0..=23 => (bytes[7], &bytes[8..]),
            24..=0xff => (24, &bytes[7..]),
            0x100..=0xffff => (25, &bytes[6..]),
            0x1_0000..=0xffff_ffff => (26, &bytes[4..]),
            _ => (27, &bytes[..]),
        };
        [&[(major << 5) | low], tail].concat()
    }
}
