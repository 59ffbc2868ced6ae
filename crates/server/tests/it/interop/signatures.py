"""Signs and verifies HTTP messages as somebody else's client would, with PyPI's
http-message-signatures, and verifies webhooks with PyPI's standardwebhooks.

Reads one question a line and answers each with a line: {"ok": true, …} or
{"ok": false, "error": "…"}.
"""

import base64
import datetime
import json
import secrets
import sys
import time

from cryptography.exceptions import InvalidSignature as CryptographyInvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver, algorithms
from standardwebhooks.webhooks import Webhook

ALGORITHMS = {
    algorithm.algorithm_id: algorithm
    for algorithm in (
        algorithms.ED25519,
        algorithms.ECDSA_P256_SHA256,
        algorithms.RSA_PSS_SHA512,
        algorithms.RSA_V1_5_SHA256,
        algorithms.HMAC_SHA256,
    )
}


class Headers:
    """Field lines in the order on the wire."""

    def __init__(self, lines):
        self.lines = [tuple(line) for line in lines]

    def items(self):
        return list(self.lines)

    def __iter__(self):
        return iter([name for name, _ in self.lines])

    def __contains__(self, name):
        return any(known.lower() == name.lower() for known, _ in self.lines)

    def __getitem__(self, name):
        return ", ".join(value for known, value in self.lines if known.lower() == name.lower())

    def __delitem__(self, name):
        self.lines = [line for line in self.lines if line[0].lower() != name.lower()]

    def __setitem__(self, name, value):
        if name in self:
            del self[name]
        self.lines.append((name, value))


class Request:
    def __init__(self, told):
        self.method, self.url, self.headers = told["method"], told["url"], Headers(told["fields"])


class Response:
    def __init__(self, told):
        self.status_code, self.headers = told["status"], Headers(told["fields"])
        self.request = Request(told["request"])


def message(told):
    return Response(told) if "status" in told else Request(told)


def number(value):
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def fixed(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def jwk(public):
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    if isinstance(public, ec.EllipticCurvePublicKey):
        numbers = public.public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return {"kty": "EC", "crv": "P-256", "x": fixed(x), "y": fixed(y)}
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": fixed(raw)}


KEYS = {}


def key(algorithm):
    """Makes a key that both sides have: the private half as PKCS#8, the public one as a JWK."""
    if algorithm == "hmac-sha256":
        secret = secrets.token_bytes(32)
        KEYS[algorithm] = (secret, secret)
        return {"private": base64.b64encode(secret).decode()}
    if algorithm == "ed25519":
        private = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == "ecdsa-p256-sha256":
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        private = rsa.generate_private_key(65537, 2048)
    KEYS[algorithm] = (private, private.public_key())
    document = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"private": base64.b64encode(document).decode(), "jwk": jwk(private.public_key())}


def at(seconds):
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def resolver(question):
    private, public = KEYS[question["algorithm"]]
    name = question["key_id"]
    return MappingKeyResolver(public_keys={name: public}, private_keys={name: private})


def sign(question):
    told = message(question["message"])
    signer = HTTPMessageSigner(
        signature_algorithm=ALGORITHMS[question["algorithm"]], key_resolver=resolver(question)
    )
    body = question.get("body")
    signer.sign(
        told,
        key_id=question["key_id"],
        label=question["label"],
        covered_component_ids=question["covered"],
        created=at(question["created"]),
        expires=at(question.get("expires")),
        nonce=question.get("nonce"),
        tag=question.get("tag"),
        include_alg=question.get("names_algorithm", False),
        append_if_signature_exists=True,
        body=None if body is None else body.encode(),
        use_existing_digest="Content-Digest" in told.headers,
    )
    return {"fields": told.headers.items()}


def verify(question):
    verifier = HTTPMessageVerifier(
        signature_algorithm=ALGORITHMS[question["algorithm"]], key_resolver=resolver(question)
    )
    body = question.get("body")
    found = verifier.verify(
        message(question["message"]),
        max_age=datetime.timedelta(seconds=300),
        expect_tag=question.get("tag"),
        body=None if body is None else body.encode(),
    )
    return {"covered": found[0].covered_components, "nonce": found[0].nonce}


def webhook(question):
    Webhook(question["secret"]).verify(question["body"], question["headers"])
    return {}


def main():
    asked = {
        "now": lambda question: {"now": int(time.time())},
        "webhook": webhook,
        "key": lambda question: {"now": int(time.time()), **key(question["algorithm"])},
        "sign": sign,
        "verify": verify,
    }
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"ok": True, **asked[question["do"]](question)}
        except Exception as error:  # noqa: BLE001: whatever it is, it was refused
            # Its own errors all bear one name, and this one says nothing else.
            is_forged = isinstance(error.__cause__, CryptographyInvalidSignature)
            answer = {"ok": False, "error": "forged" if is_forged else str(error)}
        print(json.dumps(answer), flush=True)


main()
