"""Verifies access tokens as somebody else's service would, by the published keys, or where
the algorithm has none (HS256) by the set of keys that it was handed.

Started with the library's name; reads one question a line and answers each with a line:
{"ok": true, "claims": {…}} or {"ok": false, "error": "…"}.
"""

import json
import sys
import urllib.request


def with_pyjwt(question, clients={}):
    import jwt

    if "jwks" in question:
        key = jwt.PyJWKSet.from_dict(question["jwks"])[jwt.get_unverified_header(question["token"])["kid"]]
    else:
        url = question["jwks_url"]
        if url not in clients:
            # Its own pause between two readings of a set is longer than a test.
            clients[url] = jwt.PyJWKClient(url, headers={"User-Agent": "interop"}, cooldown_duration=0)
        key = clients[url].get_signing_key_from_jwt(question["token"])
    return jwt.decode(
        question["token"],
        key.key,
        algorithms=question["algorithms"],
        issuer=question["issuer"],
        audience=question["audience"],
        options={"require": ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]},
    )


def with_jwcrypto(question, sets={}):
    from jwcrypto import jwk, jwt
    from jwcrypto.common import base64url_decode, json_decode

    url = question.get("jwks_url", "handed over")

    def fetch():
        if "jwks" in question:
            sets[url] = jwk.JWKSet.from_json(json.dumps(question["jwks"]))
            return
        with urllib.request.urlopen(url) as answer:
            sets[url] = jwk.JWKSet.from_json(answer.read())

    def verified():
        token = jwt.JWT(
            algs=question["algorithms"],
            check_claims={"iss": question["issuer"], "aud": question["audience"], "exp": None, "sub": None},
        )
        # By its name, so that an error tells of the token and not of every key of the set.
        kid = json_decode(base64url_decode(question["token"].split(".")[0]))["kid"]
        key = sets[url].get_key(kid)
        if key is None:
            raise jwt.JWTMissingKey(f"missingkey {kid}")
        token.deserialize(question["token"], key)
        return json.loads(token.claims)

    if url not in sets or "jwks" in question:
        fetch()
    try:
        return verified()
    except jwt.JWTMissingKey:
        # A kid that was not there when the set was read: once more, and no more.
        fetch()
        return verified()


def main():
    verify = {"pyjwt": with_pyjwt, "jwcrypto": with_jwcrypto}[sys.argv[1]]
    for line in sys.stdin:
        try:
            answer = {"ok": True, "claims": verify(json.loads(line))}
        except Exception as error:  # noqa: BLE001: whatever it is, the token was not accepted
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
