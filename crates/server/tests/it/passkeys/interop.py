"""Plays a browser with PyPI's soft-webauthn, and a relying party with Yubico's fido2.

One JSON object a line on standard input, one answer a line on standard output. Byte strings
travel as base64url without padding.
"""

import base64
import json
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
import fido2.features
from fido2 import cbor
from fido2.server import Fido2Server
from fido2.utils import sha256
from fido2.webauthn import (
    AttestationObject,
    AuthenticatorData,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    UserVerificationRequirement,
)
from soft_webauthn import SoftWebauthnDevice

# Credentials come in the JSON that browsers write.
fido2.features.webauthn_json_mapping.enabled = True

UV = 0x04
device = SoftWebauthnDevice()


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def as_browser(options):
    """The options with their byte strings decoded, as a page hands them over."""
    options = json.loads(json.dumps(options))
    options["challenge"] = decoded(options["challenge"])
    if "user" in options:
        options["user"]["id"] = decoded(options["user"]["id"])
    return {"publicKey": options}


def create(options, origin, verified):
    made = device.create(as_browser(options), origin)
    attestation = AttestationObject(made["response"]["attestationObject"])
    data = attestation.auth_data
    if verified:
        data = AuthenticatorData.create(
            data.rp_id_hash, data.flags | UV, data.counter, bytes(data.credential_data)
        )
    response = {
        "clientDataJSON": encoded(made["response"]["clientDataJSON"]),
        "attestationObject": encoded(bytes(AttestationObject.create("none", data, {}))),
    }
    identity = encoded(made["rawId"])
    return {"id": identity, "rawId": identity, "type": "public-key", "response": response}


def get(options, origin, verified):
    made = device.get(as_browser(options), origin)
    response = made["response"]
    data, signature = response["authenticatorData"], response["signature"]
    if verified:
        data = data[:32] + bytes([data[32] | UV]) + data[33:]
        signed = data + sha256(response["clientDataJSON"])
        signature = device.private_key.sign(signed, ec.ECDSA(hashes.SHA256()))
    identity = encoded(made["rawId"])
    return {
        "id": identity,
        "rawId": identity,
        "type": "public-key",
        "response": {
            "clientDataJSON": encoded(response["clientDataJSON"]),
            "authenticatorData": encoded(data),
            "signature": encoded(signature),
            "userHandle": encoded(response["userHandle"]),
        },
    }


def accept(rp_id, origin, creation, proof):
    """Has fido2's server judge a registration and a proof of somebody else's making."""
    server = Fido2Server(
        PublicKeyCredentialRpEntity(id=rp_id, name=rp_id), verify_origin=lambda seen: seen == origin
    )
    user = PublicKeyCredentialUserEntity(id=b"user", name="user")
    required = UserVerificationRequirement.REQUIRED
    _, state = server.register_begin(user, user_verification=required)
    state["challenge"] = creation["challenge"]
    registered = server.register_complete(state, creation["credential"])
    _, state = server.authenticate_begin([registered.credential_data], user_verification=required)
    state["challenge"] = proof["challenge"]
    server.authenticate_complete(state, [registered.credential_data], proof["credential"])
    key = registered.credential_data.public_key
    return {"algorithm": key[3], "cose": encoded(cbor.encode(dict(key)))}


for line in sys.stdin:
    asked = json.loads(line)
    task = {"create": create, "get": get, "accept": accept}[asked.pop("do")]
    try:
        answer = {"done": task(**asked)}
    except Exception as error:  # what the other stack says goes to the test, whatever it is
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
