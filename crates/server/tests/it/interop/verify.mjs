// Verifies access tokens with npm's jose, as somebody else's service would. The protocol
// is verify.py's; this file is copied beside node_modules to be run.

import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";

const sets = new Map();

async function verify({ jwks_url, token, algorithms, issuer, audience }) {
  if (!sets.has(jwks_url)) {
    sets.set(jwks_url, createRemoteJWKSet(new URL(jwks_url), { cooldownDuration: 0 }));
  }
  const options = { algorithms, issuer, audience, typ: "at+jwt", requiredClaims: ["exp", "sub", "jti"] };
  const { payload } = await jwtVerify(token, sets.get(jwks_url), options);
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
