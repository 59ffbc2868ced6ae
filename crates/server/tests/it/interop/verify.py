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
            clients[url] = jwt.PyJWKClient(url, headers={"User-Agent": "interop"})
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
        token.deserialize(question["token"], sets[url])
        return json.loads(token.claims)

    if url not in sets:
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
