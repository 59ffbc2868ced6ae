//! Signing up without an invitation: what a stranger learns, what a newcomer gets, and what
//! nobody gets.

use identity::{Link, NewPasswordByLink, Registration};
use operation::OperationError;
use tenancy::{Blueprint, OpContext};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    factor_world::here,
    support::{PASSWORD, World, new_user, request},
};

struct Door {
    world: World,
    cli: OpContext,
}

fn form(username: &str, email: &str) -> Registration {
    Registration {
        tenant: Some("dway".to_owned()),
        username: username.to_owned(),
        email: email.to_owned(),
        full_name: None,
        referral_code: None,
    }
}

fn code(result: Result<(), OperationError>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(OperationError::Refused(refusal)) => refusal.code.to_string(),
        Err(error) => panic!("{error}"),
    }
}

impl Door {
    async fn new() -> Self {
        let world = World::new().await;
        let cli = world.tenant("dway", Blueprint::DigitalBank).await;
        Self { world, cli }
    }

    async fn register(&self, form: Registration) -> String {
        code(self.world.identity.register(form, here()).await)
    }

    /// How many there are once what follows the answers is done.
    async fn settles(&self, sql: &str, expected: i64) {
        for _ in 0..200 {
            if self.world.scalar::<i64>(sql).await == expected {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        assert_eq!(self.world.scalar::<i64>(sql).await, expected, "{sql}");
    }

    /// The newest message of a template: what it says, opened as the worker opens it.
    async fn message(&self, template: &str) -> serde_json::Value {
        let superuser = self.world.superuser().await;
        let sql = "SELECT n.id, n.values_sealed, s.key_id, s.kek_epoch, s.wrapped_key FROM notices n \
             JOIN subject_keys s ON s.tenant_id = n.tenant_id AND s.subject_id = n.user_id \
             WHERE n.template = $1 ORDER BY n.id DESC LIMIT 1";
        let row = superuser.query_one(sql, &[&template]).await.unwrap();
        let roots = vault::RootKeys::new(vault::RootKey::from_bytes(&[7; 32]), None);
        let keyring = tenancy::keyring::Keyring::new(roots);
        let database = self.world.identity.operations().database();
        let keys = keyring.tenant(database, &self.cli).await.unwrap();
        let subject = keys.open_subject_key(row.get(2), row.get(3), row.get(4)).unwrap();
        let values = keys.open(&subject, ("notices", "values_sealed", row.get(0)), row.get(1));
        serde_json::from_str(&values.unwrap()).unwrap()
    }

    async fn follow(&self, link: &str) -> String {
        self.follow_with(link, PASSWORD).await
    }

    async fn follow_with(&self, link: &str, password: &str) -> String {
        let token = Zeroizing::new(link.split_once("?token=").unwrap().1.to_owned());
        let new = Zeroizing::new(password.to_owned());
        let request = NewPasswordByLink { link: Link::Invite, token, new };
        code(self.world.identity.set_password_by_link(request, here()).await)
    }
}

const PEOPLE: &str = "SELECT count(*) FROM users";
const WELCOMES: &str = "SELECT count(*) FROM notices WHERE template = 'invite'";
const RESETS: &str = "SELECT count(*) FROM notices WHERE template = 'password_reset'";

#[tokio::test]
async fn a_newcomer_proves_the_address_and_holds_the_least_role() {
    let door = Door::new().await;
    let officer = door.world.user(&door.cli, "adviser", "support").await;
    let sql = format!("SELECT referral_code FROM users WHERE id = '{officer}'");
    let referral: String = door.world.scalar(&sql).await;
    let wish = Registration {
        referral_code: Some(referral.to_lowercase()),
        ..form("jana", "Jana@Home.example")
    };
    assert_eq!(door.register(wish).await, "ok");
    door.settles(WELCOMES, 1).await;
    let message = door.message("invite").await;
    assert_eq!(message["name"], "jana");
    // Nothing opens before the link was followed.
    for name in ["jana", "jana@home.example"] {
        let early = door.world.identity.login(request("dway", name, PASSWORD), here()).await;
        assert!(early.is_err(), "{name}");
    }
    let verified = "SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL";
    assert_eq!(door.world.scalar::<i64>(verified).await, 0);
    let link = message["link"].as_str().unwrap();
    assert_eq!(door.follow(link).await, "ok");
    assert_eq!(door.follow(link).await, "link_invalid", "once");
    assert_eq!(door.world.scalar::<i64>(verified).await, 1);
    let grant = door.world.identity.login(request("dway", "jana", PASSWORD), here()).await;
    assert!(grant.is_ok());
    let sql = "SELECT array_agg(held.role) FROM user_roles held JOIN users person ON person.id = held.user_id \
         WHERE person.username = 'jana'";
    assert_eq!(door.world.scalar::<Vec<String>>(sql).await, ["customer"]);
    let sql = "SELECT referred_by FROM users WHERE username = 'jana'";
    assert_eq!(door.world.scalar::<Uuid>(sql).await, officer);
    let sql = "SELECT count(*) FROM customers WHERE user_id IS NOT NULL";
    assert_eq!(door.world.scalar::<i64>(sql).await, 0, "nobody's customer yet");
}

#[tokio::test]
async fn a_known_address_and_a_taken_name_are_answered_as_any_other() {
    let door = Door::new().await;
    let mut known = new_user("known", "customer");
    known.email = Some("known@home.example".to_owned());
    door.world.identity.create_user(&door.cli, None, known).await.unwrap();
    // The address of somebody who is in: what a forgotten password sends, and nobody new.
    assert_eq!(door.register(form("other", "KNOWN@home.example")).await, "ok");
    door.settles(RESETS, 1).await;
    assert_eq!(door.world.scalar::<i64>(PEOPLE).await, 1);
    // A name that is taken: a free one like it stands in the message.
    assert_eq!(door.register(form("Known", "new@home.example")).await, "ok");
    door.settles(WELCOMES, 1).await;
    let name = door.message("invite").await["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("Known-") && name.len() == 11, "{name}");
    // Again before the link was followed: another link, and the first that is followed counts.
    let first = door.message("invite").await["link"].as_str().unwrap().to_owned();
    door.world.advance_s(1);
    assert_eq!(door.register(form("third", "new@home.example")).await, "ok");
    door.settles(WELCOMES, 2).await;
    let second = door.message("invite").await["link"].as_str().unwrap().to_owned();
    assert_eq!(door.follow(&second).await, "ok");
    assert_eq!(door.follow(&first).await, "link_invalid");
    assert_eq!(door.world.scalar::<i64>(PEOPLE).await, 2);
    // The log holds no address, and the same record for both.
    let sql = "SELECT count(*) FROM audit_log WHERE action = 'user.register' AND actor_kind = 'anonymous' \
         AND event_type = 'api_access' AND details ? 'identifier'";
    assert_eq!(door.world.scalar::<i64>(sql).await, 3);
    let sql = "SELECT count(*) FROM audit_log WHERE audit_log::text ILIKE '%home.example%'";
    assert_eq!(door.world.scalar::<i64>(sql).await, 0);
}

#[tokio::test]
async fn a_stranger_who_came_first_fixes_nothing() {
    let door = Door::new().await;
    let thief = door.world.user(&door.cli, "thief", "customer").await;
    let sql = format!("SELECT referral_code FROM users WHERE id = '{thief}'");
    let referral: String = door.world.scalar(&sql).await;
    let forged = |username: &str| Registration {
        full_name: Some("Somebody Else".to_owned()),
        referral_code: Some(referral.clone()),
        ..form(username, "jana@home.example")
    };
    let link = async || door.message("invite").await["link"].as_str().unwrap().to_owned();
    assert_eq!(door.register(forged("forged")).await, "ok");
    door.settles(WELCOMES, 1).await;
    door.world.advance_s(1);
    let wish = Registration {
        full_name: Some("Jana Nová".to_owned()),
        ..form("jana", "jana@home.example")
    };
    assert_eq!(door.register(wish).await, "ok");
    door.settles(WELCOMES, 2).await;
    assert_eq!(door.message("invite").await["name"], "jana", "the name that this link gives");
    let own = link().await;
    // Nor by coming again afterwards: the owner's link stays good.
    door.world.advance_s(1);
    assert_eq!(door.register(forged("again")).await, "ok");
    door.settles(WELCOMES, 3).await;
    let last = link().await;
    assert_eq!(door.follow(&own).await, "ok");
    assert_eq!(door.follow(&last).await, "link_invalid");
    let sql = "SELECT username FROM users WHERE self_registered AND referred_by IS NULL";
    assert_eq!(door.world.scalar::<String>(sql).await, "jana");
    let user: Uuid = door.world.scalar("SELECT id FROM users WHERE username = 'jana'").await;
    let record = door.world.identity.user(&door.cli, user).await.unwrap();
    assert_eq!(record.full_name.as_deref(), Some("Jana Nová"));
    // Whom somebody else made keeps what they were given.
    let mut made = new_user("made", "customer");
    made.email = Some("made@home.example".to_owned());
    made.password = identity::NewPassword::None;
    door.world.identity.create_user(&door.cli, None, made).await.unwrap();
    door.world.advance_s(1);
    let wish = Registration { email: "made@home.example".to_owned(), ..forged("unmade") };
    assert_eq!(door.register(wish).await, "ok");
    door.settles(WELCOMES, 4).await;
    assert_eq!(door.follow(&link().await).await, "ok");
    let kept = "SELECT count(*) FROM users WHERE username = 'made' AND referred_by IS NULL";
    assert_eq!(door.world.scalar::<i64>(kept).await, 1);
}

#[tokio::test]
async fn the_names_of_a_form_are_no_password_and_what_staff_wrote_stays() {
    let door = Door::new().await;
    let wish = Registration {
        full_name: Some("Jaroslava Kratochvílová".to_owned()),
        ..form("zebrafinch", "jana@home.example")
    };
    assert_eq!(door.register(wish).await, "ok");
    door.settles(WELCOMES, 1).await;
    let link = door.message("invite").await["link"].as_str().unwrap().to_owned();
    for password in ["Kratochvílová-2026-x!", "Zebrafinch-2026-x!"] {
        assert_eq!(door.follow_with(&link, password).await, "validation_failed", "{password}");
    }
    // Staff have spoken to her meanwhile.
    let user: Uuid = door.world.scalar("SELECT id FROM users").await;
    let told = identity::UserUpdate {
        full_name: identity::Change::Set(Some("Jana Nová".to_owned())),
        ..identity::UserUpdate::default()
    };
    door.world.identity.update_user(&door.cli, user, None, told).await.unwrap();
    assert_eq!(door.follow(&link).await, "ok");
    let record = door.world.identity.user(&door.cli, user).await.unwrap();
    assert_eq!(record.full_name.as_deref(), Some("Jana Nová"));
}

#[tokio::test]
async fn nobody_refers_themselves_and_nobody_enters_where_the_door_is_shut() {
    let door = Door::new().await;
    assert_eq!(door.register(form("jana", "jana@home.example")).await, "ok");
    door.settles(WELCOMES, 1).await;
    let own: String = door.world.scalar("SELECT referral_code FROM users").await;
    let again = Registration { referral_code: Some(own), ..form("second", "jana@home.example") };
    assert_eq!(door.register(again).await, "ok");
    door.settles(WELCOMES, 2).await;
    let link = door.message("invite").await["link"].as_str().unwrap().to_owned();
    assert_eq!(door.follow(&link).await, "ok");
    let referred = "SELECT count(*) FROM users WHERE referred_by IS NOT NULL";
    assert_eq!(door.world.scalar::<i64>(referred).await, 0);
    let nobodys = Registration {
        referral_code: Some("0000000000".to_owned()),
        ..form("third", "third@home.example")
    };
    assert_eq!(door.register(nobodys).await, "referral_code_unknown");
    for (username, email) in
        [("", "a@b.example"), ("a b", "a@b.example"), ("ab", "nowhere"), ("ab", "")]
    {
        assert_eq!(
            door.register(form(username, email)).await,
            "validation_failed",
            "{username} {email}"
        );
    }
    for (slug, blueprint) in [("bank", Blueprint::CoreBank), ("cards", Blueprint::CardBank)] {
        door.world.tenant(slug, blueprint).await;
        let wish = Registration { tenant: Some(slug.to_owned()), ..form("x", "x@home.example") };
        assert_eq!(door.register(wish).await, "registration_closed", "{slug}");
    }
    for slug in ["nowhere", "platform"] {
        let wish = Registration { tenant: Some(slug.to_owned()), ..form("x", "x@home.example") };
        assert_eq!(door.register(wish).await, "registration_closed", "{slug}");
    }
    assert_eq!(door.world.scalar::<i64>(PEOPLE).await, 1);
}

#[tokio::test]
async fn who_waits_for_an_invitation_is_not_let_in_by_a_stranger() {
    let door = Door::new().await;
    let mut waiting = new_user("boss", "admin");
    waiting.email = Some("boss@home.example".to_owned());
    waiting.password = identity::NewPassword::None;
    door.world.identity.create_user(&door.cli, None, waiting).await.unwrap();
    assert_eq!(door.register(form("boss", "boss@home.example")).await, "ok");
    let refused = "SELECT count(*) FROM audit_log WHERE details ->> 'reason' = 'invited_by_others'";
    door.settles(refused, 1).await;
    assert_eq!(door.world.scalar::<i64>(WELCOMES).await, 0);
}
