//! Passkeys over HTTP: both ceremonies in the standard's own JSON, what a hostile client may
//! send, and stacks that others wrote.

mod interop;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tenancy::Blueprint;
use testkit::authenticator::{BS, KeyKind, Passkey, UP, UV, cbor};
use uuid::Uuid;

use crate::harness::{Answered, App, Bank};

/// `PUBLIC_URL` of the harness.
const SITE: &str = "http://localhost:8080";
const PASSKEYS: &str = "/v1/auth/webauthn/passkeys";
const CREATION: &str = "/v1/auth/webauthn/passkeys/options";
const LOGIN: &str = "/v1/auth/webauthn/login";
const LOGIN_OPTIONS: &str = "/v1/auth/webauthn/login/options";

/// A passkey that nobody holds, put straight into the tables; the tenant's policy need not
/// know passkeys.
pub(crate) async fn stored_for(app: &App, bank: &Bank, user: Uuid) -> Uuid {
    let (id, config) = (app.clock.new_id(), app.clock.new_id());
    let handle = vault::random_bytes::<64>();
    let (key, credential) = (vec![7_u8; 77], vault::random_bytes::<16>());
    let name = sealed_name(app, bank, (user, id)).await;
    let sql = [
        "INSERT INTO mfa_configs (tenant_id, id, user_id, method, name, device_fingerprint) \
         VALUES ($1, $2, $3, 'passkey', 'Passkey', decode(repeat('00', 32), 'hex'))",
        "INSERT INTO webauthn_users (tenant_id, user_id, user_handle) VALUES ($1, $2, $3)",
        "INSERT INTO webauthn_credentials (tenant_id, id, user_id, config_id, credential_id, public_key, \
         algorithm, sign_count, transports, aaguid, backup_eligible, backed_up, name_sealed) \
         VALUES ($1, $2, $3, $4, $5, $6, -7, 0, '{}', $2, false, false, $7)",
    ];
    let tables = &app.superuser;
    tables.execute(sql[0], &[&bank.id, &config, &user]).await.unwrap();
    tables.execute(sql[1], &[&bank.id, &user, &handle.as_slice()]).await.unwrap();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
        [&bank.id, &id, &user, &config, &credential.as_slice(), &key, &name];
    tables.execute(sql[2], &parameters).await.unwrap();
    id
}

async fn sealed_name(app: &App, bank: &Bank, (user, passkey): (Uuid, Uuid)) -> Vec<u8> {
    let keys = app.keyring.tenant(&app.pool, &app.cli(&bank.slug).await).await.unwrap();
    let sql = "SELECT key_id, kek_epoch, wrapped_key FROM subject_keys WHERE subject_id = $1";
    let row = app.superuser.query_one(sql, &[&user]).await.unwrap();
    let subject = keys.open_subject_key(row.get(0), row.get(1), row.get(2)).unwrap();
    keys.seal(&subject, ("webauthn_credentials", "name_sealed", passkey), "Key").unwrap()
}

/// A well-formed answer to a challenge that nobody gave out.
pub(crate) fn nobodys_answer(route: &str) -> Value {
    let mut passkey = Passkey::new(KeyKind::EdDsa, SITE);
    let answer = match route {
        "registerPasskey" => passkey.create_for(b"nobody's").to_json(),
        _ => passkey.get_for(b"nobody's").to_json(),
    };
    json!({ "credential": answer })
}

/// A tenant that knows passkeys.
async fn cards(app: &App) -> Bank {
    app.add_tenant("cards", Blueprint::CardBank, None).await
}

async fn options(app: &App, bank: &Bank) -> Value {
    let asked = app.post(LOGIN_OPTIONS).json(&json!({ "tenant": bank.slug })).send().await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    asked.body["publicKey"].clone()
}

async fn creation_options(app: &App, token: &str) -> Value {
    let asked = app.post(CREATION).bearer(token).json(&json!({})).send().await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    asked.body["publicKey"].clone()
}

async fn register(app: &App, token: &str, passkey: &mut Passkey) -> Answered {
    let created = passkey.create(&creation_options(app, token).await);
    let body = json!({ "name": "Ring", "credential": created.to_json() });
    app.post(PASSKEYS).bearer(token).json(&body).send().await
}

/// Somebody with a passkey.
async fn enrolled(app: &App, bank: &Bank, username: &str, kind: KeyKind) -> (String, Passkey) {
    let token = app.login(bank, username).await;
    let mut passkey = Passkey::new(kind, SITE);
    let made = register(app, &token, &mut passkey).await;
    assert_eq!(made.status, 201, "{}", made.body);
    (token, passkey)
}

async fn present(app: &App, proof: Value) -> Answered {
    app.post(LOGIN).json(&json!({ "credential": proof })).send().await
}

async fn sign_in(app: &App, bank: &Bank, passkey: &mut Passkey) -> Answered {
    let options = options(app, bank).await;
    present(app, passkey.get(&options).to_json()).await
}

#[tokio::test]
async fn somebody_makes_a_passkey_and_signs_in_with_nothing_else() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let token = app.login(&bank, "customer").await;
    let asked = app
        .post(CREATION)
        .bearer(&token)
        // Who we are is not asked of the request.
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("origin", "https://evil.example")
        .send()
        .await;
    let options = asked.body["publicKey"].clone();
    assert_eq!(options["rp"], json!({ "id": "localhost", "name": "cards" }), "{}", asked.body);
    assert_eq!(options["attestation"], "none");
    assert_eq!(options["timeout"], 300_000);
    let selection = json!({
        "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
    });
    assert_eq!(options["authenticatorSelection"], selection);
    let algorithms: Vec<_> = options["pubKeyCredParams"].as_array().unwrap().iter().collect();
    assert_eq!(algorithms[0], &json!({ "type": "public-key", "alg": -7 }));
    assert_eq!(options["user"]["name"], "customer");

    let mut passkey = Passkey::new(KeyKind::Es256, SITE);
    let body = json!({ "name": "Ring", "credential": passkey.create(&options).to_json() });
    let made = app.post(PASSKEYS).bearer(&token).json(&body).send().await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["backup_codes"].as_array().unwrap().len(), 10);
    let made = &made.body["passkey"];
    assert_eq!((&made["name"], &made["algorithm"]), (&json!("Ring"), &json!("ES256")));
    assert_eq!(made["transports"], json!(["hybrid", "internal"]));
    let listed = app.get(PASSKEYS).bearer(&token).send().await;
    assert_eq!(listed.body, json!({ "data": [made], "next_cursor": null }));

    let tokens = sign_in(&app, &bank, &mut passkey).await;
    assert_eq!((tokens.status, &tokens.body["token_type"]), (200, &json!("Bearer")));
    let token = tokens.body["access_token"].as_str().unwrap();
    let me = app.get("/v1/auth/me").bearer(token).send().await;
    assert_eq!((&me.body["username"], &me.body["mfa_enabled"]), (&json!("customer"), &json!(true)));
    let refresh = json!({ "refresh_token": tokens.body["refresh_token"] });
    assert_eq!(app.post("/v1/auth/refresh").json(&refresh).send().await.status, 200);

    let path = format!("{PASSKEYS}/{}", made["id"].as_str().unwrap());
    let rename = app.patch(&*path).bearer(token).header("if-match", "*");
    let renamed = rename.json(&json!({ "name": "Safe" })).send().await;
    assert_eq!((renamed.status, &renamed.body["name"]), (200, &json!("Safe")));
    let next = creation_options(&app, token).await;
    let excluded = &next["excludeCredentials"][0];
    assert_eq!(excluded["id"], json!(URL_SAFE_NO_PAD.encode(&passkey.credential_id)));
    let only = app.delete(&*path).bearer(token).send().await;
    assert_eq!((only.status, only.code()), (422, "last_factor"), "{}", only.text);
    app.another_factor(&bank, "customer").await;
    assert_eq!(app.delete(&*path).bearer(token).send().await.status, 204);
    assert_eq!(sign_in(&app, &bank, &mut passkey).await.code(), "passkey_not_accepted");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_proof_the_answer_is_the_same() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let (_, mut passkey) = enrolled(&app, &bank, "customer", KeyKind::Es256).await;
    let bends: [(&str, fn(&mut Passkey)); 9] = [
        ("another site", |key| key.origin = "http://localhost:8081".into()),
        ("another party", |key| key.rp_id = "example.com".into()),
        ("a frame", |key| key.client_extra = json!({ "crossOrigin": true })),
        ("nobody there", |key| key.flags = UV),
        ("nobody verified", |key| key.flags = UP),
        ("a backup that cannot be", |key| key.flags |= BS),
        ("somebody else", |key| key.user_handle = Some(vec![1; 64])),
        ("nobody", |key| key.user_handle = None),
        ("an unknown credential", |key| key.credential_id = vec![1; 16]),
    ];
    let mut answers = Vec::new();
    for (what, bend) in bends {
        let (origin, rp_id, flags) = (passkey.origin.clone(), passkey.rp_id.clone(), passkey.flags);
        let (handle, id) = (passkey.user_handle.clone(), passkey.credential_id.clone());
        bend(&mut passkey);
        let refused = sign_in(&app, &bank, &mut passkey).await;
        (passkey.origin, passkey.rp_id, passkey.flags) = (origin, rp_id, flags);
        (passkey.user_handle, passkey.credential_id) = (handle, id);
        passkey.client_extra = json!({});
        answers.push((what, refused));
    }
    let options = options(&app, &bank).await;
    let mut altered = passkey.get(&options);
    altered.signature[10] ^= 1;
    answers.push(("an altered signature", present(&app, altered.to_json()).await));
    answers.push(("a used challenge", present(&app, passkey.get(&options).to_json()).await));
    let mut cut = passkey.get(&self::options(&app, &bank).await);
    cut.authenticator_data.truncate(36);
    answers.push(("data cut short", present(&app, cut.to_json()).await));
    let mut long = passkey.get(&self::options(&app, &bank).await);
    long.authenticator_data.extend_from_slice(&cbor::bytes(&vec![0; 100_000]));
    answers.push(("data too long", present(&app, long.to_json()).await));
    let other = app.add_tenant("rival", Blueprint::CardBank, None).await;
    answers.push(("another tenant's", sign_in(&app, &other, &mut passkey).await));
    for (what, mut refused) in answers {
        refused.body["request_id"] = Value::Null;
        assert_eq!((refused.status, refused.code()), (401, "passkey_not_accepted"), "{what}");
        assert_eq!(refused.body["detail"], "The passkey was not accepted", "{what}");
        assert_eq!(refused.body["errors"], json!([]), "{what}");
    }
    assert_eq!(sign_in(&app, &bank, &mut passkey).await.status, 200);
}

#[tokio::test]
async fn a_registration_says_what_is_wrong_with_it() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let token = app.login(&bank, "customer").await;
    let data = "credential.response.authenticatorData";
    let client = "credential.response.clientDataJSON";
    let object = "credential.response.attestationObject";
    let bends: [(fn(&mut Passkey), &str, &str); 6] = [
        (|key| key.origin = "http://localhost".into(), client, "wrong_origin"),
        (|key| key.rp_id = "example.com".into(), data, "wrong_relying_party"),
        (|key| key.flags = UP, data, "user_not_verified"),
        (|key| key.flags |= BS, data, "inconsistent_backup_state"),
        (|key| key.format = "fido-u2f", object, "unverifiable_attestation"),
        (|key| key.client_extra = json!({ "crossOrigin": true }), client, "cross_origin"),
    ];
    for (bend, field, code) in bends {
        let mut passkey = Passkey::new(KeyKind::Es256, SITE);
        bend(&mut passkey);
        let refused = register(&app, &token, &mut passkey).await;
        assert_eq!((refused.status, refused.code()), (422, "passkey_not_accepted"), "{code}");
        let error = &refused.body["errors"][0];
        assert_eq!((&error["field"], &error["code"]), (&json!(field), &json!(code)));
    }
    // CBOR cut short at each tenth byte, and followed by more.
    let mut passkey = Passkey::new(KeyKind::Es256, SITE);
    let whole = passkey.create(&creation_options(&app, &token).await);
    let mut bent: Vec<_> = (0..whole.attestation.len()).step_by(10).collect();
    bent.push(usize::MAX);
    for length in bent {
        let mut made = passkey.create(&creation_options(&app, &token).await);
        match length {
            usize::MAX => made.attestation.push(0),
            _ => made.attestation.truncate(length),
        }
        let body = json!({ "credential": made.to_json() });
        let refused = app.post(PASSKEYS).bearer(&token).json(&body).send().await;
        let code = refused.body["errors"][0]["code"].clone();
        assert_eq!((refused.status, code), (422, json!("malformed_attestation")), "{length}");
    }
    for name in ["", "   ", "a\u{7}b", &"x".repeat(65)] {
        let made = passkey.create(&creation_options(&app, &token).await);
        let body = json!({ "name": name, "credential": made.to_json() });
        let refused = app.post(PASSKEYS).bearer(&token).json(&body).send().await;
        assert_eq!((refused.status, refused.field()), (422, "name"), "{name:?}");
    }
    let listed = app.get(PASSKEYS).bearer(&token).send().await;
    assert_eq!(listed.body["data"], json!([]), "a refusal changes nothing");
    assert_eq!(register(&app, &token, &mut passkey).await.status, 201);
}

#[tokio::test]
async fn what_is_not_the_standards_json_is_malformed_and_says_where() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let (token, mut passkey) = enrolled(&app, &bank, "customer", KeyKind::EdDsa).await;
    let proof = passkey.get(&options(&app, &bank).await).to_json();
    let with = |pointer: &str, value: Value| {
        let mut proof = proof.clone();
        *proof.pointer_mut(pointer).unwrap() = value;
        proof
    };
    let table = [
        (with("/type", json!("password")), "credential.type"),
        (with("/id", json!("AAAA")), "credential.id"),
        (with("/rawId", json!(1)), "credential.rawId"),
        (with("/response/signature", json!("a+b=")), "credential.response.signature"),
        (with("/response/signature", json!(null)), "credential.response.signature"),
        (with("/response/authenticatorData", json!("A")), "credential.response.authenticatorData"),
        (with("/response/clientDataJSON", json!(["e30"])), "credential.response.clientDataJSON"),
        (with("/response/userHandle", json!("=")), "credential.response.userHandle"),
        (with("/response", json!({})), "credential.response.clientDataJSON"),
    ];
    for (proof, field) in table {
        let refused = present(&app, proof).await;
        assert_eq!((refused.status, refused.field()), (400, field), "{}", refused.body);
    }
    // A browser may say more than we know; whoever calls us may not.
    let mut newer = passkey.get(&options(&app, &bank).await).to_json();
    newer["somethingNew"] = json!({ "a": 1 });
    newer["response"]["another"] = json!(true);
    let body = json!({ "credential": newer, "extra": 1 });
    let refused = app.post(LOGIN).json(&body).send().await;
    assert_eq!((refused.status, refused.field()), (400, "extra"));
    assert_eq!(present(&app, newer).await.status, 200);

    let large = format!("{{\"credential\":\"{}\"}}", "A".repeat(1_048_576));
    for path in [LOGIN, PASSKEYS, LOGIN_OPTIONS, CREATION] {
        let refused = app.post(path).bearer(&token).raw_json(large.clone()).send().await;
        assert_eq!((refused.status, refused.code()), (413, "body_too_large"), "{path}");
        let nul = app.post(path).bearer(&token).raw_json("{\"tenant\":\"a\\u0000\"}").send().await;
        assert_eq!(nul.status, 400, "{path}");
    }
    // As large as a body may be, and no more than a refusal.
    let mut fat = passkey.get(&options(&app, &bank).await);
    fat.signature = vec![7; 500_000];
    assert_eq!(present(&app, fat.to_json()).await.code(), "passkey_not_accepted");
    for (body, status, code) in
        [(json!({}), 400, "malformed_request"), (json!({ "tenant": "nowhere" }), 404, "not_found")]
    {
        let refused = app.post(LOGIN_OPTIONS).json(&body).send().await;
        assert_eq!((refused.status, refused.code()), (status, code), "{body}");
    }
}

#[tokio::test]
async fn a_password_is_not_enough_any_more_and_the_passkey_is_the_second_step() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let (_, mut passkey) = enrolled(&app, &bank, "customer", KeyKind::Es256).await;
    let pending = pending_token(&app, &bank).await;
    let wanted = ask_factor(&app, &pending).await;
    let allowed = &wanted["allowCredentials"][0];
    assert_eq!(allowed["id"], json!(URL_SAFE_NO_PAD.encode(&passkey.credential_id)));
    // A sign-in's challenge is not the second step's, nor is anybody else's key.
    let other = passkey.get(&options(&app, &bank).await).to_json();
    assert_eq!(verify(&app, &pending, other).await.code(), "invalid_code");
    let proof = passkey.get(&wanted).to_json();
    let verified = verify(&app, &pending, proof.clone()).await;
    assert_eq!((verified.status, &verified.body["method"]), (200, &json!("passkey")));
    let levels = "SELECT array_agg(mfa_level ORDER BY id) FROM user_sessions WHERE tenant_id = $1";
    let levels: Vec<i16> = app.superuser.query_one(levels, &[&bank.id]).await.unwrap().get(0);
    assert_eq!(levels, [0, 2]);
    assert_eq!(verify(&app, &pending, proof).await.code(), "invalid_token", "a replay");

    // Three attempts a minute and no more; let a while pass.
    let earlier =
        "UPDATE mfa_verification_attempts SET created_at = created_at - interval '1 hour'";
    app.superuser.execute(earlier, &[]).await.unwrap();
    // What was asked for one pending state is nothing to another.
    let (first, second) = (pending_token(&app, &bank).await, pending_token(&app, &bank).await);
    let proof = passkey.get(&ask_factor(&app, &first).await).to_json();
    assert_eq!(verify(&app, &second, proof.clone()).await.code(), "invalid_code");
    assert_eq!(verify(&app, &first, proof).await.status, 200);
    let recorded = "SELECT array_agg(outcome ORDER BY id) FROM mfa_verification_attempts \
                    WHERE method = 'passkey'";
    let recorded: Vec<String> = app.superuser.query_one(recorded, &[]).await.unwrap().get(0);
    assert_eq!(recorded, ["wrong", "success", "wrong", "success"]);
    // A code is no credential, and the reverse.
    for (body, field) in [
        (json!({ "mfa_token": first, "method": "passkey" }), "credential"),
        (json!({ "mfa_token": first, "method": "passkey", "code": "1" }), "code"),
        (json!({ "mfa_token": first, "method": "totp" }), "code"),
        (json!({ "mfa_token": first }), "code"),
    ] {
        let refused = app.post("/v1/auth/mfa/verify").json(&body).send().await;
        assert_eq!((refused.status, refused.field()), (400, field), "{body}");
    }
}

#[tokio::test]
async fn a_copy_of_a_key_is_noticed_in_the_second_step_too() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let (_, mut passkey) = enrolled(&app, &bank, "customer", KeyKind::EdDsa).await;
    assert_eq!(sign_in(&app, &bank, &mut passkey).await.status, 200);
    let pending = pending_token(&app, &bank).await;
    let wanted = ask_factor(&app, &pending).await;
    passkey.sign_count = 1;
    let copied = passkey.get(&wanted).to_json();
    assert_eq!(verify(&app, &pending, copied).await.code(), "invalid_code");
    let alarms =
        "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND event_type = 'security_violation'";
    let alarms: i64 = app.superuser.query_one(alarms, &[&bank.id]).await.unwrap().get(0);
    assert_eq!(alarms, 1);
}

#[tokio::test]
async fn a_passkey_steps_a_session_up_and_only_its_own() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let (_, mut passkey) = enrolled(&app, &bank, "customer", KeyKind::Es256).await;
    let token = signed_in(&app, &bank, &mut passkey).await;
    let another = signed_in(&app, &bank, &mut passkey).await;
    let stale = "UPDATE user_sessions SET mfa_at = mfa_at - interval '1 hour'";
    app.superuser.execute(stale, &[]).await.unwrap();
    let refused = app.post(CREATION).bearer(&token).send().await;
    assert_eq!((refused.status, refused.code()), (403, "step_up_required"));
    let body = json!({ "method": "passkey" });
    let asked = app.post("/v1/auth/step-up/challenge").bearer(&token).json(&body).send().await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let proof = passkey.get(&asked.body["publicKey"]).to_json();
    let body = json!({ "method": "passkey", "credential": proof });
    let step_up = |token: String| app.post("/v1/auth/step-up").bearer(&token).json(&body).send();
    assert_eq!(step_up(another.clone()).await.code(), "invalid_code", "another session's");
    let stepped = step_up(token.clone()).await;
    assert_eq!(stepped.status, 200, "{}", stepped.body);
    let fresh = stepped.body["access_token"].as_str().unwrap();
    assert_eq!(app.post(CREATION).bearer(fresh).send().await.status, 200);
    assert_eq!(app.post(CREATION).bearer(&token).send().await.code(), "token_revoked");
    assert_eq!(app.post(CREATION).bearer(&another).send().await.code(), "step_up_required");
}

async fn signed_in(app: &App, bank: &Bank, passkey: &mut Passkey) -> String {
    let tokens = sign_in(app, bank, passkey).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    tokens.body["access_token"].as_str().unwrap().to_owned()
}

/// The token of a sign-in whose second step is due.
async fn pending_token(app: &App, bank: &Bank) -> String {
    let body = json!({
        "tenant": bank.slug, "username": "customer", "password": crate::harness::PASSWORD,
    });
    let answer = app.post("/v1/auth/login").json(&body).send().await;
    assert_eq!(answer.body["mfa_required"], true, "{}", answer.body);
    assert!(answer.body["methods"].as_array().unwrap().contains(&json!("passkey")));
    answer.body["mfa_token"].as_str().unwrap().to_owned()
}

async fn ask_factor(app: &App, pending: &str) -> Value {
    let body = json!({ "mfa_token": pending, "method": "passkey" });
    let asked = app.post("/v1/auth/mfa/challenge").json(&body).send().await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    asked.body["publicKey"].clone()
}

async fn verify(app: &App, pending: &str, credential: Value) -> Answered {
    let body = json!({ "mfa_token": pending, "method": "passkey", "credential": credential });
    app.post("/v1/auth/mfa/verify").json(&body).send().await
}
