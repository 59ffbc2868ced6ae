// Verifies access tokens with npm's jose, as somebody else's service would. The protocol
// is verify.py's; this file is copied beside node_modules to be run.

import { createInterface } from "node:readline";
import { createRemoteJWKSet, importJWK, jwtVerify } from "jose";

const sets = new Map();

// Its own sets know nothing of shared secrets.
function handedOver({ keys }) {
  return async ({ kid }) => {
    const key = keys.find((one) => one.kid === kid);
    if (!key) throw new Error("no applicable key");
    return importJWK(key);
  };
}

async function verify({ jwks_url, jwks, token, algorithms, issuer, audience }) {
  if (jwks_url && !sets.has(jwks_url)) {
    sets.set(jwks_url, createRemoteJWKSet(new URL(jwks_url), { cooldownDuration: 0 }));
  }
  const keys = jwks ? handedOver(jwks) : sets.get(jwks_url);
  const options = { algorithms, issuer, audience, typ: "at+jwt", requiredClaims: ["exp", "sub", "jti"] };
  const { payload } = await jwtVerify(token, keys, options);
  return payload;
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { ok: true, claims: await verify(JSON.parse(line)) };
  } catch (error) {
    answer = { ok: false, error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
