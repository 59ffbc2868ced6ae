//! Devices: recognised, told of, listed, revoked; and how odd a session looks.

use std::sync::Arc;

use identity::SignIn;
use operation::PageRequest;
use serde_json::json;
use tenancy::{Blueprint, OpContext, Place, RequestInfo};
use uuid::Uuid;

use super::support::{PASSWORD, World, code, from};
use crate::harness::App;

/// A client of the same agent that keeps an id on its device.
fn keeping(device_id: &str) -> Arc<RequestInfo> {
    Arc::new(RequestInfo {
        device_id: Some(device_id.to_owned()),
        ..(*from("192.0.2.1", "BankApp/3.1")).clone()
    })
}

async fn sign_in(world: &World, from: Arc<RequestInfo>) -> OpContext {
    let grant = world.login_from("bank", "alice", PASSWORD, Arc::clone(&from)).await.unwrap();
    world.advance_s(1);
    world.identity.authenticate(&grant.access_token, from).await.unwrap()
}

async fn told(world: &World) -> i64 {
    world.scalar("SELECT count(*) FROM notices WHERE template = 'new_device'").await
}

#[tokio::test]
async fn the_owner_hears_of_a_new_device_once_and_can_revoke_it() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    world.user(&bank, "bob", "customer").await;
    let first = sign_in(&world, keeping("the-first-device")).await;
    assert_eq!(told(&world).await, 0, "the first ever is no news");
    let second = sign_in(&world, keeping("the-second-device")).await;
    assert_eq!(told(&world).await, 1);
    sign_in(&world, keeping("the-second-device")).await;
    sign_in(&world, keeping("the-first-device")).await;
    assert_eq!(told(&world).await, 1, "each once");
    let sealed =
        "SELECT count(*) FROM notices n WHERE n::text ILIKE '%alice%' OR n::text ILIKE '%192.0.2%'";
    assert_eq!(world.scalar::<i64>(sealed).await, 0, "whom and of what is sealed");

    let identity = &world.identity;
    let page = PageRequest::default();
    let listed = identity.devices(&second, &page).await.unwrap().data;
    let names: Vec<_> =
        listed.iter().map(|device| (device.name.as_str(), device.current)).collect();
    assert_eq!(names, [("BankApp", true), ("BankApp", false)]);
    let (newer, older) = (listed[0].id, listed[1].id);
    let paged = identity
        .devices(&second, &PageRequest { limit: 1, after: None, ..PageRequest::default() })
        .await
        .unwrap();
    let rest = PageRequest { limit: 1, after: paged.next, ..PageRequest::default() };
    assert_eq!(identity.devices(&second, &rest).await.unwrap().data[0].id, older);

    let renamed =
        identity.rename_device(&second, older, Some(1), "  Telefon · Žofie ").await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.version), ("Telefon · Žofie", 2));
    let bob = {
        let grant = world.login("bank", "bob", PASSWORD).await.unwrap();
        world.authenticate(&grant.access_token).await.unwrap()
    };
    let long = "x".repeat(65);
    // whose attempt, version, name, refusal
    let table = [
        (&second, Some(1), "stale", "version_conflict"),
        (&second, None, "", "validation_failed"),
        (&second, None, long.as_str(), "validation_failed"),
        (&second, None, "nul\0", "validation_failed"),
        (&bob, None, "mine", "not_found"),
    ];
    for (actor, version, name, expected) in table {
        let outcome = identity.rename_device(actor, older, version, name).await;
        assert_eq!(code(outcome), expected, "{name:?}");
    }
    assert_eq!(code(identity.revoke_device(&bob, older, None).await), "not_found");
    assert_eq!(code(identity.revoke_device(&second, older, Some(1)).await), "version_conflict");

    // Revoked, its sessions end and the other's go on.
    let grant =
        world.login_from("bank", "alice", PASSWORD, keeping("the-first-device")).await.unwrap();
    identity.revoke_device(&second, older, Some(2)).await.unwrap();
    let used = identity.authenticate(&grant.access_token, keeping("the-first-device")).await;
    assert_eq!(used.unwrap_err().code, "token_revoked");
    let refreshed = identity.refresh(&grant.refresh_token, keeping("the-first-device")).await;
    assert_eq!(code(refreshed), "token_revoked");
    assert_eq!(code(identity.logout(&first).await), "token_revoked");
    assert_eq!(code(identity.revoke_device(&second, older, None).await), "not_found");
    let left: Vec<Uuid> =
        identity.devices(&second, &page).await.unwrap().data.iter().map(|one| one.id).collect();
    assert_eq!(left, [newer]);
    world.advance_s(1);
    sign_in(&world, keeping("the-first-device")).await;
    assert_eq!(told(&world).await, 2, "who comes back from it is on a new device");
}

#[tokio::test]
async fn what_a_client_keeps_makes_a_device_of_it() {
    let app = App::start().await;
    let ask = |device: &'static str, agent: &'static str| {
        let body = json!({ "tenant": "bank", "username": "customer", "password": crate::harness::PASSWORD });
        app.post("/v1/auth/login")
            .header("user-agent", agent)
            .header("x-device-id", device)
            .json(&body)
    };
    // device id, user agent, how many devices there are then
    let table = [
        ("0123456789abcdef", "one", 1),
        ("0123456789abcdef", "one", 1),
        ("fedcba9876543210", "one", 2),
        ("fedcba9876543210", "two", 3),
        // None at all: too short, or not visible.
        ("short", "one", 4),
        ("has spaces in it, too", "one", 4),
    ];
    for (device, agent, expected) in table {
        let signed = ask(device, agent).send().await;
        let token = signed.body["access_token"].as_str().unwrap().to_owned();
        let listed = app.get("/v1/auth/devices").bearer(&token).send().await;
        let count = listed.body["data"].as_array().unwrap().len();
        assert_eq!(count, expected, "{device:?} {agent:?}: {}", listed.body);
    }
    let kept = "SELECT count(*) FROM user_devices d WHERE d::text LIKE '%0123456789abcdef%'";
    let kept: i64 = app.superuser.query_one(kept, &[]).await.unwrap().get(0);
    assert_eq!(kept, 0, "only a MAC of it is stored");
}

/// The last session's score, reasons, and whether it owes a factor.
async fn verdict(world: &World) -> (i16, Vec<String>, bool) {
    let sql = "SELECT suspicion_score, suspicion_reasons, suspicious_at IS NOT NULL FROM user_sessions \
        ORDER BY id DESC LIMIT 1";
    let row = world.superuser().await.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn at(ip: &str, agent: &str, place: Option<(f64, f64)>) -> Arc<RequestInfo> {
    let place = place.map(|(latitude, longitude)| Place { latitude, longitude });
    Arc::new(RequestInfo { place, ..(*from(ip, agent)).clone() })
}

#[tokio::test]
async fn an_odd_session_is_scored_with_its_reasons() {
    const PRAGUE: Option<(f64, f64)> = Some((50.08, 14.43));
    const BRNO: Option<(f64, f64)> = Some((49.19, 16.61));
    const SYDNEY: Option<(f64, f64)> = Some((-33.87, 151.21));
    const HOUR: i64 = 3_600;
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    // hours since the last, where from, score, reasons, whether a factor is owed
    let table: [(i64, Arc<RequestInfo>, i16, &[&str], bool); 10] = [
        (0, at("192.0.2.1", "home", PRAGUE), 0, &[], false),
        (24, at("192.0.2.77", "home", PRAGUE), 0, &[], false),
        (24, at("198.51.100.1", "home", PRAGUE), 20, &["new_network"], false),
        (24, at("192.0.2.1", "phone", PRAGUE), 30, &["new_device"], false),
        (24, at("203.0.113.1", "cafe", PRAGUE), 50, &["new_device", "new_network"], true),
        (3, at("192.0.2.1", "home", BRNO), 0, &[], false),
        (2, at("192.0.2.1", "home", SYDNEY), 50, &["impossible_travel"], true),
        (30, at("192.0.2.1", "home", PRAGUE), 0, &[], false),
        (24, at("2001:db8:1::1", "home", None), 20, &["new_network"], false),
        (24, at("2001:db8:1:2::3", "home", None), 0, &[], false),
    ];
    for (number, (hours, from, score, reasons, demands)) in table.into_iter().enumerate() {
        world.advance_s(hours * HOUR);
        world.login_from("bank", "alice", PASSWORD, from).await.unwrap();
        let reasons: Vec<String> = reasons.iter().map(|&reason| reason.to_owned()).collect();
        assert_eq!(verdict(&world).await, (score, reasons, demands), "case {number}");
    }
    assert_eq!(world.audited(&bank, "security_violation").await, 2);
    let sql = "SELECT string_agg(details ->> 'reason', ',') FROM audit_log WHERE event_type = 'security_violation'";
    assert_eq!(world.scalar::<String>(sql).await, "suspicious_session,suspicious_session");

    // Ten sessions about noon, and then one in the night.
    world.advance_s(24 * HOUR);
    for _ in 0..10 {
        world.advance_s(24 * HOUR);
        world.login_from("bank", "alice", PASSWORD, from("192.0.2.1", "home")).await.unwrap();
    }
    // Older ones began at other hours: none within ninety days of that night.
    world.superuser().await
        .execute("UPDATE user_sessions SET created_at = date_trunc('day', created_at) + interval '12 hours'", &[])
        .await
        .unwrap();
    let now = world.clock.now();
    let midnight = (24 - (now.as_second() % 86_400) / HOUR) * HOUR + 2 * HOUR;
    world.advance_s(midnight);
    world.login_from("bank", "alice", PASSWORD, from("192.0.2.1", "home")).await.unwrap();
    assert_eq!(verdict(&world).await, (10, vec!["unusual_hour".to_owned()], false));
}

#[tokio::test]
async fn a_burst_of_sessions_is_odd_and_a_factor_settles_what_is_owed() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    let alice = world.user(&bank, "alice", "customer").await;
    for number in 0..5 {
        world.login_from("bank", "alice", PASSWORD, from("192.0.2.1", "home")).await.unwrap();
        assert_eq!(verdict(&world).await.0, 0, "{number}");
        world.advance_s(60);
    }
    let context = sign_in(&world, from("203.0.113.9", "robot")).await;
    let reasons = ["new_device", "new_network", "session_burst"].map(str::to_owned).to_vec();
    assert_eq!(verdict(&world).await, (80, reasons.clone(), true));
    let own = || async {
        let page = world.identity.sessions(&context, &PageRequest::default()).await.unwrap();
        page.data.into_iter().find(|session| session.current).unwrap()
    };
    let session = own().await;
    assert_eq!((session.step_up_due, session.suspicion_reasons), (true, reasons));
    let sql =
        format!("UPDATE user_sessions SET mfa_at = suspicious_at WHERE id = '{}'", session.id);
    world.superuser().await.batch_execute(&sql).await.unwrap();
    assert!(!own().await.step_up_due, "a factor proven since then");

    // The threshold is the tenant's.
    let sql = "UPDATE security_policies SET policy = jsonb_set(policy, '{session,step_up_score}', '1000')";
    world.superuser().await.batch_execute(sql).await.unwrap();
    world.login_from("bank", "alice", PASSWORD, from("198.51.100.9", "robot two")).await.unwrap();
    let (score, _, demands) = verdict(&world).await;
    assert_eq!((score, demands), (80, false));

    // The function speaks of nobody else's session, and of none that is not there.
    let app = testkit::connect(&world.database.url_as("strongroom_app")).await;
    app.batch_execute(&format!(
        "SELECT set_config('app.current_tenant', '{}', false), set_config('app.current_user_id', '*', false)",
        bank.tenant_id()
    ))
    .await
    .unwrap();
    let ask = "SELECT * FROM detect_suspicious_session($1, '192.0.2.1', 'home', $2::text::varchar)";
    let stranger = Uuid::from_u128(7);
    for (user, session) in [(stranger, session.id), (alice, stranger)] {
        let rows = app.query(ask, &[&user, &session.to_string()]).await.unwrap();
        assert!(rows.is_empty(), "{user} {session}");
    }
}

#[tokio::test]
async fn on_a_trusted_device_network_and_hour_are_no_reasons() {
    let world = World::new().await;
    let bank = world.tenant("bank", Blueprint::CoreBank).await;
    world.user(&bank, "alice", "customer").await;
    sign_in(&world, from("192.0.2.1", "home")).await;
    let trust = |until: &str| format!("UPDATE user_devices SET trusted_until = {until}");
    let month = trust("app_now() + interval '400 days'");
    world.superuser().await.batch_execute(&month).await.unwrap();
    sign_in(&world, from("203.0.113.1", "home")).await;
    assert_eq!(verdict(&world).await.0, 0);
    world.superuser().await.batch_execute(&trust("'2020-01-01'")).await.unwrap();
    sign_in(&world, from("198.51.100.1", "home")).await;
    assert_eq!(verdict(&world).await.0, 20);
}

#[tokio::test]
async fn card_bank_asks_for_a_factor_on_a_device_that_is_new_to_an_account() {
    let world = World::new().await;
    for blueprint in [Blueprint::CardBank, Blueprint::CoreBank] {
        let slug = format!("{blueprint}-one");
        let tenant = world.tenant(&slug, blueprint).await;
        world.user(&tenant, "alice", "customer").await;
        let from_device = |agent: &'static str| {
            let request = super::support::request(&slug, "alice", PASSWORD);
            world.identity.login(request, from("192.0.2.1", agent))
        };
        // agent, whether a session begins at once
        let elsewhere = blueprint == Blueprint::CoreBank;
        for (agent, expected) in
            [("home", true), ("home", true), ("phone", elsewhere), ("home", true)]
        {
            let begun = matches!(from_device(agent).await, Ok(SignIn::Tokens(_)));
            assert_eq!(begun, expected, "{blueprint} {agent}");
            world.advance_s(1);
        }
        // What was not let in is not known from then on, and sets up nothing of its own.
        let again = from_device("phone").await;
        assert_eq!(matches!(again, Ok(SignIn::Tokens(_))), elsewhere);
        if !elsewhere {
            assert_eq!(code(again), "device_unknown");
        }
    }
}
