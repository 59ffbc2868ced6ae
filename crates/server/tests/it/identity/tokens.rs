//! Access tokens: what they say, and every confusion that is refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tenancy::{Blueprint, policy::JwtAlgorithm};
use vault::signing::{Algorithm, SigningKey, Verifier, VerifyingKey};

use super::support::{World, claims, code};

const ALGORITHMS: [JwtAlgorithm; 4] =
    [JwtAlgorithm::HS256, JwtAlgorithm::RS256, JwtAlgorithm::ES256, JwtAlgorithm::EdDSA];

#[tokio::test]
async fn tokens_of_every_algorithm_carry_the_claims_and_verify_against_the_published_keys() {
    let world = World::with_secret(None).await;
    for algorithm in ALGORITHMS {
        let slug = format!("bank-{}", format!("{algorithm:?}").to_lowercase());
        let bank = world.tenant_signing(&slug, Blueprint::CoreBank, Some(algorithm)).await;
        let user = world.user(&bank, "alice", "customer").await;
        let (grant, context) = world.signed_in(&slug, "alice").await;
        assert_eq!((context.actor.id, &context.actor.roles[0][..]), (user, "customer"));
        let said = claims(&grant.access_token);
        let url = format!("https://bank.test/t/{slug}");
        assert_eq!((said["iss"].as_str(), said["aud"].as_str()), (Some(&*url), Some(&*url)));
        assert_eq!(said["sub"], json!(user));
        assert_eq!(said["sid"], json!(grant.session_id));
        assert_eq!(said["tenant"], json!(bank.tenant_id()));
        assert_eq!(said["role"], "customer");
        assert!(said["scope"].as_str().unwrap().split(' ').any(|name| name == "account:read"));
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 1_800);
        assert_eq!(grant.expires_in_s, 1_800);
        let header = header(&grant.access_token);
        assert_eq!(
            (header["typ"].as_str(), header["alg"].as_str()),
            (Some("at+jwt"), Some(&*format!("{algorithm:?}")))
        );

        let jwks = world.identity.jwks(&slug).await.unwrap();
        let keys = jwks["keys"].as_array().unwrap();
        if algorithm == JwtAlgorithm::HS256 {
            assert!(keys.is_empty());
            continue;
        }
        let verifier =
            Verifier::new(keys.iter().map(|key| VerifyingKey::from_public_jwk(key).unwrap()))
                .unwrap();
        verifier.verify(&grant.access_token, "at+jwt").unwrap();
        assert!(!jwks.to_string().contains("\"d\""));
        let discovery = world.identity.openid_configuration(&slug).await.unwrap();
        assert_eq!(discovery["issuer"], json!(url));
        assert_eq!(
            discovery["id_token_signing_alg_values_supported"],
            json!([format!("{algorithm:?}")])
        );
    }
    assert_eq!(code(world.identity.jwks("nowhere").await), "not_found");
}

#[tokio::test]
async fn credit_risk_tokens_carry_the_seeds_issuer_and_audiences() {
    let world = World::new().await;
    let tenant = world.tenant("risk", Blueprint::CreditRisk).await;
    world.user(&tenant, "alice", "user").await;
    let (grant, _) = world.signed_in("risk", "alice").await;
    let said = claims(&grant.access_token);
    assert_eq!(said["iss"], "default-rate-prediction-api");
    assert_eq!(said["aud"], json!(["api-users", "admin-panel"]));
    assert_eq!(grant.expires_in_s, 900);
}

#[tokio::test]
async fn every_confusion_is_refused() {
    let world = World::new().await;
    let bank = world.tenant_signing("bank", Blueprint::CoreBank, Some(JwtAlgorithm::RS256)).await;
    let other = world.tenant_signing("other", Blueprint::CoreBank, Some(JwtAlgorithm::HS256)).await;
    world.user(&bank, "alice", "customer").await;
    world.user(&other, "alice", "customer").await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    let (foreign, _) = world.signed_in("other", "alice").await;
    let token = grant.access_token.as_str();
    let (head, said) = (header(token), claims(token));
    let kid = head["kid"].as_str().unwrap();
    let modulus =
        world.identity.jwks("bank").await.unwrap()["keys"][0]["n"].as_str().unwrap().to_owned();
    let hmac = |secret: &[u8], kid: &str| {
        let secret = vault::SecretBytes::from_slice(secret);
        SigningKey::from_private_bytes(Algorithm::HS256, kid, secret).unwrap()
    };
    let with = |name: &str, value: Value| {
        let mut changed = said.clone();
        changed[name] = value;
        changed
    };
    let unsigned = |head: &Value, said: &Value| format!("{}.{}.", part(head), part(said));
    let signature = token.rsplit('.').next().unwrap();
    let mut lengthened = said.clone();
    lengthened["exp"] = json!(said["exp"].as_i64().unwrap() + 1_000_000);
    let other_kid = header(&foreign.access_token)["kid"].as_str().unwrap().to_owned();
    let table = [
        ("empty", String::new()),
        ("not a token", "abc".to_owned()),
        ("alg none", unsigned(&json!({"alg": "none", "kid": kid, "typ": "at+jwt"}), &said)),
        (
            "alg None with kid",
            unsigned(&json!({"alg": "None", "kid": kid, "typ": "at+jwt"}), &said),
        ),
        ("no signature", unsigned(&head, &said)),
        ("changed claims", format!("{}.{}.{signature}", part(&head), part(&lengthened))),
        (
            "rs to hs with the public modulus",
            hmac(modulus.as_bytes(), kid).sign_jwt("at+jwt", &said).unwrap(),
        ),
        ("unknown kid", hmac(&[1; 32], "nobody").sign_jwt("at+jwt", &said).unwrap()),
        ("hostile kid", hmac(&[1; 32], "../../etc/passwd';--").sign_jwt("at+jwt", &said).unwrap()),
        ("kid of another tenant", hmac(&[9; 32], &other_kid).sign_jwt("at+jwt", &said).unwrap()),
        ("the raw shared secret", hmac(&[9; 32], kid).sign_jwt("at+jwt", &said).unwrap()),
        ("another tenant's token for this tenant", {
            let mut parts = foreign.access_token.split('.');
            let (head, _, signature) = (parts.next().unwrap(), parts.next(), parts.next().unwrap());
            format!(
                "{head}.{}.{signature}",
                part(&with("sub", claims(&foreign.access_token)["sub"].clone()))
            )
        }),
        (
            "embedded jwk",
            unsigned(&json!({"alg": "HS256", "kid": kid, "typ": "at+jwt", "jwk": {}}), &said),
        ),
        ("a refresh token", grant.refresh_token.to_string()),
        ("a fourth part", format!("{token}.x")),
        ("trailing dot", format!("{token}.")),
        ("too long", format!("{token}{}", "a".repeat(10_000))),
    ];
    for (case, forged) in table {
        assert_eq!(world.authenticate(&forged).await.unwrap_err().code, "invalid_token", "{case}");
    }
    world.authenticate(token).await.unwrap();
}

/// Forged with the tenant's own key, as a thief of the key or a bug of ours could.
#[tokio::test]
async fn genuine_signatures_over_bad_claims_are_refused() {
    let world = World::new().await;
    let bank = world.tenant_signing("bank", Blueprint::CoreBank, Some(JwtAlgorithm::HS256)).await;
    let other = world.tenant("other", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    let said = claims(&grant.access_token);
    let kid = header(&grant.access_token)["kid"].as_str().unwrap().to_owned();
    let key = SigningKey::derive_hs256(&[9; 32], bank.tenant_id(), &kid).unwrap();
    let with = |name: &str, value: Option<Value>| {
        let mut changed = said.clone();
        match value {
            Some(value) => changed[name] = value,
            None => drop(changed.as_object_mut().unwrap().remove(name)),
        }
        key.sign_jwt("at+jwt", &changed).unwrap()
    };
    world.authenticate(&with("jti", Some(said["jti"].clone()))).await.unwrap();
    let now_s = world.clock.now_s();
    let table = [
        ("exp as a string", with("exp", Some(json!("9999999999"))), "invalid_token"),
        ("exp as a fraction", with("exp", Some(json!(9_999_999_999.5))), "invalid_token"),
        ("exp null", with("exp", Some(Value::Null)), "invalid_token"),
        ("exp absent", with("exp", None), "invalid_token"),
        ("exp past", with("exp", Some(json!(now_s - 10))), "token_expired"),
        ("nbf absent", with("nbf", None), "invalid_token"),
        ("nbf ahead", with("nbf", Some(json!(now_s + 100))), "invalid_token"),
        ("iat ahead", with("iat", Some(json!(now_s + 100))), "invalid_token"),
        ("iss of another", with("iss", Some(json!("https://bank.test/t/other"))), "invalid_token"),
        (
            "aud of another",
            with("aud", Some(json!(["https://bank.test/t/other"]))),
            "invalid_token",
        ),
        ("tenant of another", with("tenant", Some(json!(other.tenant_id()))), "invalid_token"),
        ("no tenant", with("tenant", None), "invalid_token"),
        ("no sid", with("sid", None), "invalid_token"),
        ("unknown sid", with("sid", Some(json!(uuid::Uuid::nil()))), "token_revoked"),
        ("sub of another", with("sub", Some(json!(uuid::Uuid::nil()))), "invalid_token"),
        ("another typ", key.sign_jwt("JWT", &said).unwrap(), "invalid_token"),
    ];
    for (case, forged, expected) in table {
        assert_eq!(world.authenticate(&forged).await.unwrap_err().code, expected, "{case}");
    }
}

#[tokio::test]
async fn tokens_expire_and_the_cache_of_verified_ones_knows() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    let (grant, _) = world.signed_in("bank", "alice").await;
    world.authenticate(&grant.access_token).await.unwrap();
    world.advance_s(1_805);
    assert_eq!(world.authenticate(&grant.access_token).await.unwrap_err().code, "token_expired");
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap())
        .unwrap()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
