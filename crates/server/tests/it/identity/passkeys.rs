//! Passkeys against a real database under a clock that the tests move: enrolment, sign-in,
//! and everything that a challenge, a counter or a lock has to withstand.

use std::{collections::HashSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{
    CreationOptions, PasskeyProof, PasskeyRecord, PasskeyRegistration, RequestOptions, TokenGrant,
};
use operation::OperationError;
use serde_json::{Value, json};
use tenancy::{Blueprint, OpContext};
use testkit::authenticator::{BE, BS, Created, KeyKind, Passkey, Proof, UP};
use uuid::Uuid;

use crate::harness::another_factor;

use super::support::{WRONG, World, code, from};

/// `PUBLIC_URL` of the world.
const SITE: &str = "https://bank.test";

fn encoded(bytes: &[u8]) -> Value {
    URL_SAFE_NO_PAD.encode(bytes).into()
}

fn create(passkey: &mut Passkey, options: &CreationOptions) -> Created {
    passkey.create(&json!({
        "challenge": encoded(&options.challenge), "user": { "id": encoded(&options.user_handle) },
    }))
}

fn get(passkey: &mut Passkey, options: &RequestOptions) -> Proof {
    passkey.get(&json!({ "challenge": encoded(&options.challenge) }))
}

fn registration(created: Created) -> PasskeyRegistration {
    PasskeyRegistration {
        credential_id: created.credential_id,
        client_data: created.client_data,
        attestation: created.attestation,
        transports: vec!["internal".to_owned(), "a-later-one".to_owned()],
        name: Some("Key on my ring".to_owned()),
    }
}

fn presented(proof: &Proof) -> PasskeyProof {
    PasskeyProof {
        credential_id: proof.credential_id.clone(),
        client_data: proof.client_data.clone(),
        authenticator_data: proof.authenticator_data.clone(),
        signature: proof.signature.clone(),
        user_handle: proof.user_handle.clone(),
    }
}

impl World {
    async fn register(
        &self,
        context: &OpContext,
        passkey: &mut Passkey,
    ) -> Result<PasskeyRecord, OperationError> {
        let options = self.identity.passkey_creation_options(context).await?;
        let created = create(passkey, &options);
        Ok(self.identity.register_passkey(context, registration(created)).await?.passkey)
    }

    async fn options(&self, tenant: &OpContext) -> RequestOptions {
        let from = from("192.0.2.1", "tests");
        self.identity.passkey_sign_in_options(Arc::clone(&tenant.tenant), from).await.unwrap()
    }

    async fn present(&self, proof: &Proof) -> Result<TokenGrant, OperationError> {
        let from = from("192.0.2.1", "tests");
        self.identity.sign_in_by_passkey(presented(proof), from).await
    }

    async fn sign_in(
        &self,
        tenant: &OpContext,
        passkey: &mut Passkey,
    ) -> Result<TokenGrant, OperationError> {
        let options = self.options(tenant).await;
        self.present(&get(passkey, &options)).await
    }

    /// A tenant that knows passkeys, somebody in it, and a passkey of theirs.
    async fn with_passkey(&self, kind: KeyKind) -> (OpContext, Uuid, Passkey) {
        let tenant = self.tenant("cards", Blueprint::CardBank).await;
        let alice = self.user(&tenant, "alice", "customer").await;
        let (_, context) = self.signed_in("cards", "alice").await;
        let mut passkey = Passkey::new(kind, SITE);
        self.register(&context, &mut passkey).await.unwrap();
        (tenant, alice, passkey)
    }

    /// The reasons of refused passkeys.
    async fn reasons(&self) -> Vec<String> {
        let sql = "SELECT record FROM audit_log WHERE event_type = 'auth_failure'";
        let rows = self.superuser().await.query(sql, &[]).await.unwrap();
        let reason = |row: &tokio_postgres::Row| {
            let record: Value = serde_json::from_slice(row.get(0)).unwrap();
            record["details"]["reason"].as_str().unwrap_or_default().to_owned()
        };
        let mut reasons: Vec<_> = rows.iter().map(reason).collect();
        // Of one moment's records none comes first.
        reasons.sort();
        reasons
    }
}

/// The session that a grant opens.
async fn context_of(world: &World, grant: &TokenGrant) -> OpContext {
    let context = world.authenticate(&grant.access_token).await.unwrap();
    // Ids of sessions are ordered by time; a manual clock must be moved for that.
    world.advance_s(1);
    context
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, OperationError>) -> (String, String) {
    match outcome {
        Err(OperationError::Refused(refusal)) => {
            let field = refusal.errors.first().map(|error| error.code.to_string());
            (refusal.code.into_owned(), field.unwrap_or_default())
        }
        other => panic!("not refused: {other:?}"),
    }
}

const NOT_ACCEPTED: &str = "passkey_not_accepted";

#[tokio::test]
async fn a_passkey_of_any_algorithm_signs_in_by_itself() {
    let world = World::new().await;
    let tenant = world.tenant("cards", Blueprint::CardBank).await;
    let alice = world.user(&tenant, "alice", "customer").await;
    let (_, mut context) = world.signed_in("cards", "alice").await;
    let mut handles = HashSet::new();
    for (count, kind) in [KeyKind::Es256, KeyKind::EdDsa, KeyKind::Rs256].into_iter().enumerate() {
        let options = world.identity.passkey_creation_options(&context).await.unwrap();
        assert_eq!((options.rp_id.as_str(), options.username.as_str()), ("bank.test", "alice"));
        assert_eq!((options.exclude.len(), options.algorithms), (count, [-7, -8, -257]));
        handles.insert(options.user_handle.clone());
        let mut passkey = Passkey::new(kind, SITE);
        passkey.flags |= BE | BS;
        let made = create(&mut passkey, &options);
        let registered =
            world.identity.register_passkey(&context, registration(made)).await.unwrap();
        // Backup codes come with the first factor and with no other.
        assert_eq!(registered.backup_codes.len(), if count == 0 { 10 } else { 0 });
        let record = registered.passkey;
        assert_eq!(record.name, "Key on my ring");
        assert_eq!(record.transports, ["internal"], "what is not known is left out");
        let grant = world.sign_in(&tenant, &mut passkey).await.unwrap();
        assert_eq!(grant.user_id, alice);
        let level = format!(
            "SELECT count(*) FROM user_sessions WHERE id = '{}' AND mfa_level = 2 AND mfa_at IS NOT NULL",
            grant.session_id
        );
        assert_eq!(world.scalar::<i64>(&level).await, 1);
        context = context_of(&world, &grant).await;
        let listed = world.identity.passkeys(&context).await.unwrap();
        assert_eq!((listed.len(), listed[0].id), (count + 1, record.id));
        assert!(listed[0].last_used_at.is_some() && listed[0].backed_up);
    }
    // One random name for all of a person's passkeys, which is not their id.
    assert_eq!(handles.len(), 1);
    let handle = handles.into_iter().next().unwrap();
    assert!(handle.len() == 64 && !handle.windows(16).any(|part| part == alice.as_bytes()));
    let stored = "SELECT count(*) FROM webauthn_credentials WHERE position('ring'::bytea IN name_sealed) > 0";
    assert_eq!(world.scalar::<i64>(stored).await, 0, "names are sealed");
    assert!(world.audited(&tenant, "credential_change").await >= 3);
    assert_eq!(world.audited(&tenant, "key_use").await, 3, "each sign-in used a key");
}

#[tokio::test]
async fn a_challenge_is_good_once_for_five_minutes_and_for_its_purpose() {
    let world = World::new().await;
    let (tenant, _, mut passkey) = world.with_passkey(KeyKind::Es256).await;
    let proof = get(&mut passkey, &world.options(&tenant).await);
    world.present(&proof).await.unwrap();
    assert_eq!(code(world.present(&proof).await), NOT_ACCEPTED, "a replay");

    let options = world.options(&tenant).await;
    world.advance_s(301);
    let late = get(&mut passkey, &options);
    assert_eq!(code(world.present(&late).await), NOT_ACCEPTED, "too late");
    let options = world.options(&tenant).await;
    world.advance_s(299);
    let grant = world.present(&get(&mut passkey, &options)).await.unwrap();
    let context = context_of(&world, &grant).await;

    // A registration's challenge signs nobody in, and a sign-in's registers nothing.
    let creation = world.identity.passkey_creation_options(&context).await.unwrap();
    assert_eq!(code(world.present(&passkey.get_for(&creation.challenge)).await), NOT_ACCEPTED);
    let options = world.options(&tenant).await;
    let other = Passkey::new(KeyKind::EdDsa, SITE);
    let made = registration(other.create_for(&options.challenge));
    let outcome = world.identity.register_passkey(&context, made).await;
    assert_eq!(refused(outcome), (NOT_ACCEPTED.into(), "challenge_expired".into()));
    // Nobody gave these out.
    for invented in [&b"a challenge"[..], &[0xff; 64], &[], options.challenge[1..].as_ref()] {
        assert_eq!(code(world.present(&passkey.get_for(invented)).await), NOT_ACCEPTED);
    }
    let mut forged = options.challenge.clone();
    *forged.last_mut().unwrap() = if forged.ends_with(b"A") { b"Q" } else { b"A" }[0];
    assert_eq!(code(world.present(&passkey.get_for(&forged)).await), NOT_ACCEPTED);
    // A wrong answer uses it up as well.
    let mut wrong = get(&mut passkey, &options);
    wrong.signature[10] ^= 1;
    assert_eq!(code(world.present(&wrong).await), NOT_ACCEPTED);
    let right = get(&mut passkey, &options);
    assert_eq!(code(world.present(&right).await), NOT_ACCEPTED);
    assert!(world.sign_in(&tenant, &mut passkey).await.is_ok());
}

#[tokio::test]
async fn a_registration_belongs_to_the_session_that_asked_for_it() {
    let world = World::new().await;
    let tenant = world.tenant("cards", Blueprint::CardBank).await;
    world.user(&tenant, "alice", "customer").await;
    world.user(&tenant, "bob", "customer").await;
    let (_, alice) = world.signed_in("cards", "alice").await;
    let (_, elsewhere) = world.signed_in("cards", "alice").await;
    let (_, bob) = world.signed_in("cards", "bob").await;
    let options = world.identity.passkey_creation_options(&alice).await.unwrap();
    let mut passkey = Passkey::new(KeyKind::Es256, SITE);
    let made = create(&mut passkey, &options);
    for stranger in [&bob, &elsewhere] {
        let outcome = world.identity.register_passkey(stranger, registration(made.clone())).await;
        assert_eq!(refused(outcome), (NOT_ACCEPTED.into(), "challenge_expired".into()));
    }
    world.identity.register_passkey(&alice, registration(made.clone())).await.unwrap();
    let again = world.identity.register_passkey(&alice, registration(made)).await;
    // Now she has a factor, and this session has not shown it.
    assert_eq!(code(again), "step_up_required");
}

#[tokio::test]
async fn whoever_registers_or_removes_has_lately_proven_to_be_there() {
    let world = World::new().await;
    let tenant = world.tenant("cards", Blueprint::CardBank).await;
    let alice = world.user(&tenant, "alice", "customer").await;
    let (_, stale) = world.signed_in("cards", "alice").await;
    world.advance_s(301);
    assert_eq!(
        code(world.identity.passkey_creation_options(&stale).await.map(drop)),
        "sign_in_required"
    );
    let (_, fresh) = world.signed_in("cards", "alice").await;
    world.advance_s(200);
    let options = world.identity.passkey_creation_options(&fresh).await.unwrap();
    let mut passkey = Passkey::new(KeyKind::EdDsa, SITE);
    let made = create(&mut passkey, &options);
    // The options came in time, the answer has to as well.
    world.advance_s(101);
    let outcome = world.identity.register_passkey(&fresh, registration(made)).await;
    assert_eq!(code(outcome), "sign_in_required");
    let (_, fresh) = world.signed_in("cards", "alice").await;
    let record = world.register(&fresh, &mut passkey).await.unwrap();

    // From here on a factor is asked for: neither session has shown one.
    let removed = world.identity.remove_passkey(&fresh, (record.id, None)).await;
    assert_eq!(code(removed), "step_up_required");
    let more = world.identity.passkey_creation_options(&fresh).await.map(drop);
    assert_eq!(code(more), "step_up_required");
    let grant = world.sign_in(&tenant, &mut passkey).await.unwrap();
    let proven = context_of(&world, &grant).await;
    world.advance_s(301);
    assert_eq!(
        code(world.identity.remove_passkey(&proven, (record.id, None)).await),
        "step_up_required"
    );
    let grant = world.sign_in(&tenant, &mut passkey).await.unwrap();
    let proven = context_of(&world, &grant).await;
    let mut second = Passkey::new(KeyKind::Es256, SITE);
    let other = world.register(&proven, &mut second).await.unwrap();
    world.identity.remove_passkey(&proven, (record.id, None)).await.unwrap();
    assert_eq!(code(world.sign_in(&tenant, &mut passkey).await), NOT_ACCEPTED);
    assert_eq!(code(world.identity.remove_passkey(&proven, (record.id, None)).await), "not_found");
    let has_factor = format!("SELECT mfa_enabled FROM users WHERE id = '{alice}'");
    assert!(world.scalar::<bool>(&has_factor).await);
    assert!(world.sign_in(&tenant, &mut second).await.is_ok());
    // The last one goes where another factor is left, and what it was goes with it.
    assert_eq!(code(world.identity.remove_passkey(&proven, (other.id, None)).await), "last_factor");
    assert!(world.sign_in(&tenant, &mut second).await.is_ok(), "nothing was changed");
    another_factor(&world.superuser().await, tenant.tenant_id(), "alice").await;
    world.identity.remove_passkey(&proven, (other.id, None)).await.unwrap();
    assert!(world.scalar::<bool>(&has_factor).await);
    assert_eq!(code(world.sign_in(&tenant, &mut second).await), NOT_ACCEPTED);
    assert_eq!(world.scalar::<i64>("SELECT count(*) FROM mfa_configs").await, 1);
}

#[tokio::test]
async fn a_counter_that_goes_back_is_refused_and_raises_an_alarm() {
    let world = World::new().await;
    let (tenant, alice, mut passkey) = world.with_passkey(KeyKind::Es256).await;
    world.sign_in(&tenant, &mut passkey).await.unwrap();
    world.sign_in(&tenant, &mut passkey).await.unwrap();
    let live = "SELECT count(*) FROM user_sessions WHERE revoked_at IS NULL";
    let before = world.scalar::<i64>(live).await;
    for count in [2, 1, 0] {
        // As a copy would say that was made some uses ago: the next one counts on from here.
        passkey.sign_count = count;
        let said = count + u32::from(count != 0);
        let outcome = world.sign_in(&tenant, &mut passkey).await;
        assert_eq!(code(outcome), NOT_ACCEPTED, "{said}");
    }
    assert_eq!(world.audited(&tenant, "security_violation").await, 3);
    assert_eq!(world.scalar::<i64>(live).await, before);
    // Who forges a signature raises no such alarm, whatever counter they say.
    let options = world.options(&tenant).await;
    let mut forged = get(&mut passkey, &options);
    forged.signature[9] ^= 1;
    assert_eq!(code(world.present(&forged).await), NOT_ACCEPTED);
    assert_eq!(world.audited(&tenant, "security_violation").await, 3);
    passkey.sign_count = 3;
    assert_eq!(world.sign_in(&tenant, &mut passkey).await.unwrap().user_id, alice);
    let count = "SELECT sign_count FROM webauthn_credentials";
    assert_eq!(world.scalar::<i64>(count).await, 4);
    // Nor does the database let it go back.
    let superuser = world.superuser().await;
    let refused = superuser.execute("UPDATE webauthn_credentials SET sign_count = 1", &[]).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn wrong_passwords_of_a_stranger_never_keep_the_owner_out() {
    let world = World::new().await;
    let (tenant, alice, mut passkey) = world.with_passkey(KeyKind::EdDsa).await;
    let stranger = from("203.0.113.9", "guesser");
    for _ in 0..100 {
        let outcome = world.login_from("cards", "alice", WRONG, stranger.clone()).await;
        let code = code(outcome);
        assert!(["invalid_credentials", "rate_limited"].contains(&code.as_str()), "{code}");
    }
    let locked = format!(
        "SELECT is_account_locked('{alice}') FROM \
        (SELECT set_config('app.current_tenant', '{}', false), \
                set_config('app.now', '{}', false)) AS settings",
        tenant.tenant_id(),
        world.clock.now()
    );
    assert!(world.scalar::<bool>(&locked).await);
    world.sign_in(&tenant, &mut passkey).await.unwrap();
    // Even from the address of the guesses, and it leaves the lock where it was: each
    // visit of the owner's would give the guesser new tries.
    let options = world.options(&tenant).await;
    let proof = presented(&get(&mut passkey, &options));
    world.identity.sign_in_by_passkey(proof, stranger).await.unwrap();
    assert!(world.scalar::<bool>(&locked).await);
    let seen = format!("SELECT last_login_at IS NOT NULL FROM users WHERE id = '{alice}'");
    assert!(world.scalar::<bool>(&seen).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_copies_of_one_answer_one_begins_a_session() {
    let world = Arc::new(World::new().await);
    let (tenant, _, mut passkey) = world.with_passkey(KeyKind::Es256).await;
    let count = "SELECT count(*) FROM user_sessions";
    let before = world.scalar::<i64>(count).await;
    let proof = get(&mut passkey, &world.options(&tenant).await);
    let other = world.another_node();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let identity = if number % 2 == 0 { world.identity.clone() } else { other.clone() };
            let proof = presented(&proof);
            tokio::spawn(async move {
                identity.sign_in_by_passkey(proof, from("192.0.2.1", "tests")).await
            })
        })
        .collect();
    let mut begun = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => begun += 1,
            refused => assert_eq!(code(refused), NOT_ACCEPTED),
        }
    }
    assert_eq!(begun, 1);
    assert_eq!(world.scalar::<i64>(count).await, before + 1);
    assert_eq!(world.reasons().await, vec!["challenge"; 49]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_parallel_proofs_each_counts_those_before_it() {
    let world = Arc::new(World::new().await);
    let (tenant, _, mut passkey) = world.with_passkey(KeyKind::EdDsa).await;
    let mut proofs = Vec::new();
    for _ in 0..10 {
        let options = world.options(&tenant).await;
        // All say the same count: a copy of the key, used at the same moment.
        passkey.sign_count = 1;
        proofs.push(get(&mut passkey, &options));
    }
    let tasks: Vec<_> = proofs
        .into_iter()
        .map(|proof| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.present(&proof).await.is_ok() })
        })
        .collect();
    let mut begun = 0;
    for task in tasks {
        begun += usize::from(task.await.unwrap());
    }
    assert_eq!(begun, 1);
    assert_eq!(world.audited(&tenant, "security_violation").await, 9);
}

#[tokio::test]
async fn others_passkeys_and_other_tenants_are_nothing() {
    let world = World::new().await;
    let (cards, alice, mut passkey) = world.with_passkey(KeyKind::Es256).await;
    let rival = world.tenant("rival", Blueprint::CardBank).await;
    world.user(&cards, "bob", "customer").await;
    world.user(&rival, "alice", "customer").await;
    // Another tenant's challenge, answered with a passkey of this one, and the reverse.
    assert_eq!(code(world.sign_in(&rival, &mut passkey).await), NOT_ACCEPTED);
    let (_, context) = world.signed_in("rival", "alice").await;
    let mut theirs = Passkey::new(KeyKind::Es256, SITE);
    world.register(&context, &mut theirs).await.unwrap();
    assert_eq!(code(world.sign_in(&cards, &mut theirs).await), NOT_ACCEPTED);
    assert!(world.sign_in(&rival, &mut theirs).await.is_ok());

    // Bob's key under the id of Alice's, or under her name.
    let (_, bob) = world.signed_in("cards", "bob").await;
    let mut bobs = Passkey::new(KeyKind::Es256, SITE);
    let record = world.register(&bob, &mut bobs).await.unwrap();
    let mut stolen = get(&mut bobs, &world.options(&cards).await);
    stolen.credential_id.clone_from(&passkey.credential_id);
    stolen.user_handle.clone_from(&passkey.user_handle);
    assert_eq!(code(world.present(&stolen).await), NOT_ACCEPTED);
    let mut renamed = get(&mut bobs, &world.options(&cards).await);
    renamed.user_handle.clone_from(&passkey.user_handle);
    assert_eq!(code(world.present(&renamed).await), NOT_ACCEPTED);
    let mut nameless = get(&mut bobs, &world.options(&cards).await);
    nameless.user_handle = None;
    assert_eq!(code(world.present(&nameless).await), NOT_ACCEPTED);
    assert!(world.sign_in(&cards, &mut bobs).await.is_ok());

    // Of Alice's passkeys Bob sees none and changes none.
    let grant = world.sign_in(&cards, &mut passkey).await.unwrap();
    assert_eq!(grant.user_id, alice);
    let context = context_of(&world, &grant).await;
    assert_eq!(code(world.identity.remove_passkey(&context, (record.id, None)).await), "not_found");
    let renamed = world.identity.rename_passkey(&context, (record.id, None), "Mine").await;
    assert_eq!(code(renamed), "not_found");
    assert_eq!(world.identity.passkeys(&context).await.unwrap().len(), 1);
    let renamed = world.identity.rename_passkey(&bob, (record.id, None), " Ring ").await.unwrap();
    assert_eq!(renamed.name, "Ring");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_credential_is_registered_once() {
    let world = Arc::new(World::new().await);
    let tenant = world.tenant("cards", Blueprint::CardBank).await;
    let mut answers = Vec::new();
    let shared = Passkey::new(KeyKind::Es256, SITE);
    for number in 0..10 {
        let name = format!("person{number}");
        world.user(&tenant, &name, "customer").await;
        let (_, context) = world.signed_in("cards", &name).await;
        let options = world.identity.passkey_creation_options(&context).await.unwrap();
        answers.push((context, shared.create_for(&options.challenge)));
    }
    let tasks: Vec<_> = answers
        .into_iter()
        .map(|(context, made)| {
            let identity = world.identity.clone();
            tokio::spawn(
                async move { identity.register_passkey(&context, registration(made)).await },
            )
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            refused => assert_eq!(code(refused), "passkey_exists"),
        }
    }
    assert_eq!(made, 1);
    // Whoever was refused has no factor from it.
    assert_eq!(world.scalar::<i64>("SELECT count(*) FROM users WHERE mfa_enabled").await, 1);
    assert_eq!(world.scalar::<i64>("SELECT count(*) FROM mfa_configs").await, 1);
}

#[tokio::test]
async fn the_disabled_and_those_whose_factors_were_taken_stay_out() {
    let world = World::new().await;
    let (tenant, alice, mut passkey) = world.with_passkey(KeyKind::Es256).await;
    let set = |active: bool| identity::UserUpdate {
        is_active: Some(active),
        ..identity::UserUpdate::default()
    };
    world.identity.update_user(&tenant, alice, None::<i64>, set(false)).await.unwrap();
    assert_eq!(code(world.sign_in(&tenant, &mut passkey).await), NOT_ACCEPTED);
    world.identity.update_user(&tenant, alice, None::<i64>, set(true)).await.unwrap();
    assert!(world.sign_in(&tenant, &mut passkey).await.is_ok());
    // Seed 002's function takes the factor, and every passkey goes with it.
    let superuser = world.superuser().await;
    let sql = format!(
        "SET ROLE strongroom_app; SELECT set_config('app.current_tenant', '{}', false); \
         SELECT disable_mfa_method('{alice}', NULL)",
        tenant.tenant_id()
    );
    superuser.batch_execute(&sql).await.unwrap();
    assert_eq!(world.scalar::<i64>("SELECT count(*) FROM webauthn_credentials").await, 0);
    assert_eq!(code(world.sign_in(&tenant, &mut passkey).await), NOT_ACCEPTED);
    assert_eq!(
        world.reasons().await,
        ["disabled", "unknown_credential"],
        "the answer says nothing of it, the log does"
    );
}

#[tokio::test]
async fn policy_and_place_decide_whether_there_are_passkeys() {
    let world = World::new().await;
    for (slug, blueprint, role, allowed) in [
        ("core", Blueprint::CoreBank, "customer", false),
        ("erp", Blueprint::EquipmentErp, "viewer", false),
        ("cards", Blueprint::CardBank, "customer", true),
        ("risk", Blueprint::CreditRisk, "user", true),
        ("strict", Blueprint::Standard, "customer", true),
    ] {
        let tenant = world.tenant(slug, blueprint).await;
        world.user(&tenant, "alice", role).await;
        let (_, context) = world.signed_in(slug, "alice").await;
        let outcome = world.identity.passkey_creation_options(&context).await.map(drop);
        if allowed {
            outcome.unwrap();
        } else {
            assert_eq!(code(outcome), "method_unavailable", "{slug}");
        }
    }
}

#[tokio::test]
async fn nobody_has_more_than_twenty() {
    let world = World::new().await;
    let (tenant, _, mut passkey) = world.with_passkey(KeyKind::EdDsa).await;
    let grant = world.sign_in(&tenant, &mut passkey).await.unwrap();
    let context = context_of(&world, &grant).await;
    let spare = world.identity.passkey_creation_options(&context).await.unwrap();
    for _ in 1..20 {
        let mut another = Passkey::new(KeyKind::EdDsa, SITE);
        world.register(&context, &mut another).await.unwrap();
    }
    let refused = world.identity.passkey_creation_options(&context).await.map(drop);
    assert_eq!(code(refused), "too_many_passkeys");
    let made = create(&mut Passkey::new(KeyKind::EdDsa, SITE), &spare);
    let refused = world.identity.register_passkey(&context, registration(made)).await;
    assert_eq!(code(refused), "too_many_passkeys");
}

#[tokio::test]
async fn what_ended_an_hour_ago_is_swept() {
    let world = World::new().await;
    let (tenant, _, mut passkey) = world.with_passkey(KeyKind::EdDsa).await;
    for _ in 0..30 {
        world.options(&tenant).await;
    }
    let count = "SELECT count(*) FROM webauthn_challenges";
    assert_eq!(world.scalar::<i64>(count).await, 31);
    world.advance_s(3_600 + 301);
    world.sign_in(&tenant, &mut passkey).await.unwrap();
    world.options(&tenant).await;
    assert_eq!(world.scalar::<i64>(count).await, 2);
    let hashes = "SELECT count(*) FROM webauthn_challenges WHERE length(challenge_hash) = 32";
    assert_eq!(world.scalar::<i64>(hashes).await, 2);
}

#[tokio::test]
async fn nobody_verified_is_nobody_signed_in() {
    let world = World::new().await;
    let (tenant, _, mut passkey) = world.with_passkey(KeyKind::Es256).await;
    let honest = passkey.flags;
    passkey.flags = UP;
    assert_eq!(code(world.sign_in(&tenant, &mut passkey).await), NOT_ACCEPTED);
    passkey.flags = honest;
    passkey.origin = "https://bank.test.evil".to_owned();
    assert_eq!(code(world.sign_in(&tenant, &mut passkey).await), NOT_ACCEPTED);
    passkey.origin = SITE.to_owned();
    passkey.rp_id = "test".to_owned();
    assert_eq!(code(world.sign_in(&tenant, &mut passkey).await), NOT_ACCEPTED);
    passkey.rp_id = "bank.test".to_owned();
    assert!(world.sign_in(&tenant, &mut passkey).await.is_ok());
    assert_eq!(world.reasons().await, ["user_not_verified", "wrong_origin", "wrong_relying_party"]);
}
