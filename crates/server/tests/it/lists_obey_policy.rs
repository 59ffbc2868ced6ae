//! list = filter(read): over random worlds, of every list of the interface, each actor is
//! shown what reading the objects one by one shows them, and nothing else. A list that is
//! new fails here until it is considered.

use std::collections::BTreeMap;

use access::{Blueprint, Permission, Policies, Scope};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{App, Bank};

/// A list, how one of its objects is read, and the ids of all objects there are.
struct Listed {
    id: &'static str,
    list: &'static str,
    /// The template by which one object is read; none where every line is the actor's own.
    read: &'static str,
    /// All of the tenant `$1`, newest first.
    all: &'static str,
    /// Filters: the query, and the condition on `all` that says the same.
    filters: &'static [(&'static str, &'static str)],
}

const LISTED: [Listed; 8] = [
    Listed {
        id: "listUsers",
        list: "/v1/users",
        read: "/v1/users/{id}",
        all: "SELECT id FROM users WHERE tenant_id = $1 AND deleted_at IS NULL",
        filters: &[
            ("role=customer", "role = 'customer'"),
            ("is_active=true", "is_active"),
            ("username=s", "username_key LIKE 's%'"),
        ],
    },
    Listed {
        id: "listCustomers",
        list: "/v1/customers",
        read: "/v1/customers/{id}",
        all: "SELECT id FROM customers WHERE tenant_id = $1",
        filters: &[
            ("status=active", "status = 'active'"),
            ("customer_type=individual", "customer_type = 'individual'"),
        ],
    },
    Listed {
        id: "listAccounts",
        list: "/v1/accounts",
        read: "/v1/accounts/{id}",
        all: "SELECT id FROM savings_accounts JOIN ledger_accounts USING (tenant_id, id) WHERE tenant_id = $1",
        filters: &[("status=frozen", "status = 'frozen'"), ("status=active", "status = 'active'")],
    },
    Listed {
        id: "listHolds",
        list: "/v1/holds",
        read: "/v1/holds/{id}",
        all: "SELECT id FROM holds WHERE tenant_id = $1",
        filters: &[
            ("status=authorized", "status = 'authorized'"),
            ("status=released", "status = 'released'"),
        ],
    },
    Listed {
        id: "listApprovals",
        list: "/v1/approvals",
        read: "/v1/approvals/{id}",
        all: "SELECT id FROM approvals WHERE tenant_id = $1",
        filters: &[
            ("status=pending", "status = 'pending'"),
            ("status=rejected", "status = 'rejected'"),
        ],
    },
    Listed {
        id: "listPolicyChanges",
        list: "/v1/settings/policy/changes",
        read: "/v1/settings/policy/changes/{id}",
        all: "SELECT id FROM policy_changes WHERE tenant_id = $1",
        filters: &[("status=pending", "status = 'pending'")],
    },
    Listed {
        id: "listApiKeys",
        list: "/v1/api-keys",
        read: "/v1/api-keys/{id}",
        all: "SELECT id FROM api_keys WHERE tenant_id = $1",
        filters: &[],
    },
    Listed {
        id: "listUserSessions",
        list: "/v1/users/{person}/sessions",
        read: "/v1/users/{person}",
        all: "SELECT id FROM user_sessions WHERE tenant_id = $1 AND revoked_at IS NULL",
        filters: &[],
    },
];

/// Lists whose lines no route reads one by one, with what else holds them to the policy.
const ELSEWHERE: [(&str, &str); 17] = [
    ("listActivity", "one's own, by `own_lists_show_nobody_elses`"),
    ("listAuditCheckpoints", "whole or nothing, by `the_log_is_read_whole_or_not_at_all`"),
    ("listAuditEvents", "whole or nothing, by `the_log_is_read_whole_or_not_at_all`"),
    (
        "listClientKeys",
        "one's own or all, by `keys_are_registered_once_bounded_and_each_its_owners`",
    ),
    ("listDataKeys", "whole or nothing, by `the_log_is_read_whole_or_not_at_all`"),
    ("listDevices", "one's own, by `own_lists_show_nobody_elses`"),
    ("listFactorResets", "whole or nothing, by `the_log_is_read_whole_or_not_at_all`"),
    ("listFactors", "one's own, by `own_lists_show_nobody_elses`"),
    ("listPasskeys", "one's own, by `own_lists_show_nobody_elses`"),
    ("listReferrals", "one's own, by `own_lists_show_nobody_elses`"),
    ("listRoles", "whole or nothing, by `the_log_is_read_whole_or_not_at_all`"),
    ("listSessions", "one's own, by `own_lists_show_nobody_elses`"),
    ("listSigningKeys", "whole or nothing, by `the_log_is_read_whole_or_not_at_all`"),
    ("listTransactions", "an account's, by `bank_lists`"),
    ("listWebhookDeliveries", "a webhook's, by `webhooks`"),
    ("listWebhooks", "whole or nothing, by `the_log_is_read_whole_or_not_at_all`"),
    ("readKeyInventory", "whole or nothing, by `the_log_is_read_whole_or_not_at_all`"),
];

/// A small generator (Knuth's MMIX constants): worlds differ by seed and can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[test]
fn every_list_is_considered() {
    let document = serde_json::to_value(api::openapi()).unwrap();
    let mut lists: Vec<String> = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        let Some(operation) = item.get("get") else { continue };
        let schema =
            &operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
        let name = schema.as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        let properties = &document["components"]["schemas"][name]["properties"];
        if !properties["next_cursor"].is_null() {
            lists.push(operation["operationId"].as_str().unwrap().to_owned());
        }
    }
    lists.sort();
    let mut known: Vec<_> =
        LISTED.iter().map(|one| one.id).chain(ELSEWHERE.iter().map(|(id, _)| *id)).collect();
    known.sort_unstable();
    assert_eq!(lists, known);
}

/// The banking lists know two SQL forms, all and own: no policy may give another condition,
/// or they would show what a single read refuses.
#[test]
fn no_policy_gives_a_banking_list_a_scope_that_its_sql_does_not_know() {
    use Permission::{AccountRead, CustomerRead, HoldRead, TransactionRead};
    let policies = Policies::load().unwrap();
    for blueprint in Blueprint::ALL {
        for role in blueprint.roles() {
            for permission in [AccountRead, CustomerRead, HoldRead, TransactionRead] {
                let scope = policies.scope(blueprint, &[*role], permission);
                let known = [Scope::NONE, Scope::OWN, Scope::ALL].contains(&scope);
                assert!(known, "{blueprint} {role} {permission}: {scope}");
            }
            for permission in [Permission::AuditRead, Permission::KeyRead, Permission::SettingsView]
            {
                let scope = policies.scope(blueprint, &[*role], permission);
                assert!(
                    scope.is_none() || scope.is_all(),
                    "{blueprint} {role} {permission}: {scope}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_what_single_reads_show_in_a_bank() {
    for seed in [1, 2, 3] {
        let app = App::start().await;
        let bank = app.bank.clone();
        populate(&app, &bank, &mut Dice(seed)).await;
        check(&app, &bank, Blueprint::CoreBank, seed, &LISTED).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_what_single_reads_show_where_there_are_organisations() {
    for seed in [4, 5] {
        let app = App::start().await;
        for blueprint in [Blueprint::CreditRisk, Blueprint::EquipmentErp, Blueprint::Standard] {
            let slug = format!("the-{blueprint}");
            let tenant = app.add_tenant(&slug, blueprint, None).await;
            let (people, others) = LISTED.split_at(1);
            check(&app, &tenant, blueprint, seed, people).await;
            check(&app, &tenant, blueprint, seed + 10, &others[4..]).await;
        }
    }
}

/// Holds, approvals, changes and keys in several states, of both customers.
async fn populate(app: &App, bank: &Bank, dice: &mut Dice) {
    crate::approvals::set_ceiling(app, bank, Some(1_000)).await;
    for holder in &bank.customers {
        let token = app.login(bank, holder.username).await;
        let [mine, second] = holder.accounts;
        let others = &bank.customers[dice.roll(2)].accounts;
        for _ in 0..=dice.roll(3) {
            let key = Uuid::from_bytes(vault::random_bytes()).to_string();
            let to = if others[1] == mine { second } else { others[1] };
            let order = json!({ "account_id": mine, "to_account_id": to, "amount": 10 });
            let held = app.post("/v1/holds").bearer(&token).key(&key).json(&order).send().await;
            assert_eq!(held.status, 201, "{}", held.body);
            let order = json!({
                "from_account_id": mine, "to_account_id": to, "amount": 1_001, "currency": "EUR",
            });
            let sent = app.post("/v1/transfers").bearer(&token).key(&key).json(&order).send().await;
            assert_eq!(sent.status, 201, "{}", sent.body);
        }
    }
    let manager = app.login(bank, "manager").await;
    let steps =
        [("/v1/holds", "release", json!({})), ("/v1/approvals", "reject", json!({ "note": "No" }))];
    for (path, step, body) in steps {
        let all = app.get(path).bearer(&manager).send().await;
        let one = all.body["data"][0]["id"].as_str().unwrap();
        let key = Uuid::from_bytes(vault::random_bytes()).to_string();
        let ask = app.post(format!("{path}/{one}/{step}")).bearer(&manager).key(&key);
        let done = ask.json(&body).send().await;
        assert!(done.is_success(), "{path} {step}: {}", done.body);
    }
    let freeze = "UPDATE ledger_accounts SET status = 'frozen' WHERE id = $1";
    let frozen = bank.customers[dice.roll(2)].accounts[dice.roll(2)];
    app.superuser.execute(freeze, &[&frozen]).await.unwrap();
    let admin = app.login_by_factor(bank, "admin").await;
    let wish = json!({ "name": "Payroll", "role": "customer_service" });
    app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await;
    let super_admin = app.login_by_factor(bank, "super_admin").await;
    let change = json!({ "patch": { "session": { "concurrent_limit": 4 } } });
    app.post("/v1/settings/policy/changes").bearer(&super_admin).json(&change).send().await;
}

/// Custom roles of every scope that lists know, under conditions that are met, and that are not.
async fn define_roles(app: &App, bank: &Bank) {
    let definitions: [(&str, &[&str], &str); 6] = [
        ("sees_own", &["user:read:own", "account:read:own", "customer:read:own"], "{}"),
        ("sees_own_money", &["hold:read:own", "hold:create:own", "transaction:read:own"], "{}"),
        ("sees_organisation", &["user:read:own_org"], "{}"),
        (
            "sees_all",
            &["account:read", "customer:read", "customer:update", "transaction:read:own_tenant"],
            "{}",
        ),
        ("sees_logs", &["audit:read", "key:read", "settings:view"], "{}"),
        ("sees_by_passkey", &["user:read", "account:read", "audit:read"], r#"{"mfa_level": 2}"#),
    ];
    for (name, permissions, conditions) in definitions {
        let role = "INSERT INTO roles (tenant_id, name, role_type) VALUES ($1, $2, 'custom') \
             ON CONFLICT DO NOTHING RETURNING id";
        let made = app.superuser.query_opt(role, &[&bank.id, &name]).await.unwrap();
        let Some(made) = made.map(|row| row.get::<_, Uuid>(0)) else { continue };
        let permit = "INSERT INTO role_permissions \
                 (tenant_id, role_id, position, resource, action, scope, conditions) \
             SELECT $1, $2, (position - 1)::smallint, split_part(one, ':', 1), split_part(one, ':', 2), \
                 nullif(split_part(one, ':', 3), ''), $4::text::jsonb \
             FROM unnest($3::text[]) WITH ORDINALITY AS given (one, position)";
        app.superuser.execute(permit, &[&bank.id, &made, &permissions, &conditions]).await.unwrap();
    }
}

const CUSTOM: [&str; 6] =
    ["sees_own", "sees_own_money", "sees_organisation", "sees_all", "sees_logs", "sees_by_passkey"];

/// Gives everybody roles, organisation and department by the dice, then asks each.
async fn check(app: &App, bank: &Bank, blueprint: Blueprint, seed: u64, lists: &[Listed]) {
    let mut dice = Dice(seed);
    define_roles(app, bank).await;
    let organizations = [Uuid::from_u128(101), Uuid::from_u128(102)];
    let names: Vec<_> = bank.users.keys().cloned().collect();
    for (name, person) in &bank.users {
        let roles = blueprint.roles();
        let second = roles[dice.roll(roles.len())];
        let give = "INSERT INTO user_roles (tenant_id, user_id, role) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING";
        if dice.roll(2) == 0 {
            app.superuser.execute(give, &[&bank.id, person, &second]).await.unwrap();
        }
        for custom in CUSTOM {
            if dice.roll(3) == 0 {
                app.superuser.execute(give, &[&bank.id, person, &custom]).await.unwrap();
            }
        }
        let organization = (dice.roll(3) > 0).then(|| organizations[dice.roll(2)]);
        let department = ["loans", "desk"][dice.roll(2)];
        let department = (dice.roll(2) == 0 && name != "second").then_some(department);
        let place = "UPDATE users SET organization_id = $2, department = $3 WHERE id = $1";
        app.superuser.execute(place, &[person, &organization, &department]).await.unwrap();
    }
    for name in &names {
        let token = app.login(bank, name).await;
        for listed in lists {
            let who = format!("seed {seed}, {name} of {blueprint}: {}", listed.id);
            if listed.id == "listUserSessions" {
                sessions_follow_their_person(app, bank, &token, &who).await;
            } else {
                compare(app, bank, (&token, listed), &who).await;
            }
        }
    }
}

/// Whole, and under each filter, newest first, in pages of two and of a hundred.
async fn compare(app: &App, bank: &Bank, (token, listed): (&str, &Listed), who: &str) {
    let mut readable = BTreeMap::new();
    for id in ids(app, bank, listed.all).await {
        let read = app.get(listed.read.replace("{id}", &id.to_string())).bearer(token).send().await;
        readable.insert(id, read.status == 200);
    }
    let whole = [("", "true")];
    for (filter, condition) in whole.iter().chain(listed.filters) {
        let all = ids(app, bank, &format!("{} AND {condition}", listed.all)).await;
        let mut expected: Vec<_> = all.into_iter().filter(|id| readable[id]).collect();
        for limit in [2, 100] {
            let mut shown =
                pages(app, token, listed.list, &format!("{filter}&limit={limit}")).await;
            if limit == 100 {
                assert!(
                    shown.windows(2).all(|pair| pair[0].1 >= pair[1].1),
                    "{who} {filter}: order"
                );
            }
            let mut shown: Vec<_> = shown.drain(..).map(|(id, _)| id).collect();
            shown.sort_unstable();
            expected.sort_unstable();
            assert_eq!(shown, expected, "{who} {filter}");
        }
    }
}

/// Somebody's sessions are listed for those, and only those, who may read the person and
/// sessions.
async fn sessions_follow_their_person(app: &App, bank: &Bank, token: &str, who: &str) {
    let me = app.get("/v1/auth/me").bearer(token).send().await;
    let may = me.body["permissions"].as_array().unwrap().iter().any(|one| one == "session:read");
    for person in bank.users.values() {
        let read = app.get(format!("/v1/users/{person}")).bearer(token).send().await;
        let list = app.get(format!("/v1/users/{person}/sessions")).bearer(token).send().await;
        if list.status == 200 {
            assert!(may && read.status == 200, "{who} {person}: {}", read.body);
        }
    }
}

async fn ids(app: &App, bank: &Bank, sql: &str) -> Vec<Uuid> {
    let rows = app.superuser.query(sql, &[&bank.id]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Ids and times of a list, page by page; nothing where it is refused.
async fn pages(app: &App, token: &str, path: &str, query: &str) -> Vec<(Uuid, String)> {
    let (mut shown, mut cursor) = (Vec::new(), String::new());
    loop {
        let query = query.trim_start_matches('&');
        let page = app.get(format!("{path}?{query}{cursor}")).bearer(token).send().await;
        if page.status == 403 {
            return shown;
        }
        assert_eq!(page.status, 200, "{path}?{query}: {}", page.body);
        for line in page.body["data"].as_array().unwrap() {
            let time = ["created_at", "requested_at"].iter().find_map(|name| line[name].as_str());
            let id = line["id"].as_str().unwrap().parse().unwrap();
            shown.push((id, time.unwrap_or_default().to_owned()));
        }
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return shown,
        }
    }
}

#[tokio::test]
async fn own_lists_show_nobody_elses() {
    let app = App::start().await;
    let bank = &app.bank;
    let admin = app.login_by_factor(bank, "admin").await;
    let customer = app.login(bank, "customer").await;
    let passkey = crate::passkeys::stored_for(&app, bank, bank.users["customer"]).await;
    app.another_factor(bank, "customer").await;
    for path in [
        "/v1/auth/sessions",
        "/v1/auth/devices",
        "/v1/auth/activity",
        "/v1/auth/mfa/methods",
        "/v1/auth/webauthn/passkeys",
        "/v1/auth/referrals",
    ] {
        let of = async |token: &str| {
            let answer = app.get(path).bearer(token).send().await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            let lines = answer.body["data"].as_array().unwrap().clone();
            lines.iter().map(|line| line["id"].clone()).collect::<Vec<Value>>()
        };
        let (theirs, own) = (of(&customer).await, of(&admin).await);
        assert!(theirs.iter().all(|id| id.is_null() || !own.contains(id)), "{path}");
        if path.ends_with("passkeys") {
            assert_eq!((theirs, own), (vec![json!(passkey)], vec![]));
        }
    }
}

#[tokio::test]
async fn the_log_is_read_whole_or_not_at_all() {
    let app = App::start().await;
    let table = [
        ("/v1/audit/events", Permission::AuditRead),
        ("/v1/audit/checkpoints", Permission::AuditRead),
        ("/v1/keys", Permission::KeyRead),
        ("/v1/keys/data", Permission::KeyRead),
        ("/v1/keys/inventory", Permission::KeyRead),
        ("/v1/mfa-resets", Permission::UserUpdate),
        ("/v1/roles", Permission::SettingsView),
        ("/v1/webhooks", Permission::SettingsView),
    ];
    for role in Blueprint::CoreBank.roles() {
        let token = app.login(&app.bank, role).await;
        app.seal().await;
        for (path, permission) in table {
            let scope = app.operations.policies().scope(Blueprint::CoreBank, &[*role], permission);
            let answer = app.get(path).bearer(&token).send().await;
            let expected = if scope.is_all() { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{role} {path}: {}", answer.body);
        }
    }
}
