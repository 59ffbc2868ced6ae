//! Where a tenant has not the module of a page, there is no such page: whoever asks, in
//! whatever way, and whatever stands in the tables.

use std::sync::Arc;

use banking::{
    AuthoriseHold, CreateCustomer, CreateTransfer, CustomerType, Deposit, NewAccount, NewCustomer,
    OpenAccount, PersonalData,
};
use tenancy::Blueprint;
use uuid::Uuid;

use crate::{
    console::Browser,
    harness::{Answered, App},
};

/// Tables that a banking page could write to.
const TABLES: [&str; 7] = [
    "customers",
    "savings_accounts",
    "ledger_accounts",
    "transfers",
    "transactions",
    "holds",
    "approvals",
];

/// Something of each kind, as an operator could have left it in any tenant.
struct Things {
    customer: Uuid,
    account: Uuid,
    transfer: Uuid,
    hold: Uuid,
    approval: Uuid,
}

impl Things {
    async fn of(app: &App, slug: &str) -> Self {
        let context = app.cli(slug).await;
        let customer = NewCustomer {
            customer_type: CustomerType::Individual,
            personal: PersonalData {
                first_name: Some("Jana".to_owned()),
                last_name: Some("Nováková".to_owned()),
                ..PersonalData::default()
            },
            user_id: None,
        };
        let command = CreateCustomer { keyring: Arc::clone(&app.keyring), customer };
        let customer = app.run(&context, command).await.id;
        let account = NewAccount::plain(customer, "EUR".parse().unwrap());
        let to = app.run(&context, OpenAccount { account: account.clone() }).await.id;
        let account = app.run(&context, OpenAccount { account }).await.id;
        let deposit = Deposit {
            account_id: account,
            amount: 100_000,
            currency: None,
            description: "Opening".to_owned(),
            reference: None,
            value_date: None,
        };
        let transfer = app.run(&context, deposit).await.id;
        let hold = AuthoriseHold {
            account_id: account,
            to_account_id: Some(to),
            amount: 500,
            currency: None,
            description: "Hotel".to_owned(),
            reference: None,
            expires_at: None,
        };
        let hold = app.run(&context, hold).await.id;
        let ceiling = "UPDATE security_policies \
            SET policy = jsonb_set(policy, '{transfer_ceiling_minor}', '5000') WHERE tenant_id = $1";
        app.superuser.execute(ceiling, &[&context.tenant_id()]).await.unwrap();
        let order = CreateTransfer {
            from_account_id: account,
            to_account_id: to,
            amount: 5_001,
            currency: "EUR".parse().unwrap(),
            description: "Waits".to_owned(),
            reference: None,
        };
        let approval = app.run(&context, order).await.approval_id.unwrap();
        Self { customer, account, transfer, hold, approval }
    }

    fn named(&self, path: &str) -> String {
        let id = match path.split('/').nth(1).unwrap_or_default() {
            "accounts" => self.account,
            "customers" => self.customer,
            "transfers" => self.transfer,
            "holds" => self.hold,
            "approvals" => self.approval,
            other => panic!("{other} has no id"),
        };
        path.replace("{id}", &id.to_string())
    }

    /// What any of the forms takes for a whole one.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &str| (name, value.to_owned());
        vec![
            ("once", Uuid::from_u128(99).to_string()),
            ("customer_id", self.customer.to_string()),
            ("from_account_id", self.account.to_string()),
            text("version", "1"),
            text("customer_type", "individual"),
            text("first_name", "Petr"),
            text("last_name", "Novák"),
            text("account_type", "savings"),
            text("currency", "EUR"),
            text("amount", "1.00"),
            text("description", "x"),
            text("status", "frozen"),
            text("reason", "because"),
        ]
    }
}

/// Everything that the tenant has of banking, and how many records its log.
async fn state(app: &App, tenant: Uuid) -> Vec<(&'static str, String)> {
    let mut found = vec![("audit", app.audit_count(tenant).await.to_string())];
    for table in TABLES {
        let sql = format!(
            "SELECT count(*) || coalesce(md5(string_agg(one::text, ';' ORDER BY one::text)), '') \
             FROM {table} one WHERE tenant_id = $1"
        );
        found.push((table, app.superuser.query_one(&sql, &[&tenant]).await.unwrap().get(0)));
    }
    found
}

async fn ask(app: &App, browser: &mut Browser, things: &Things, page: &Page) -> Answered {
    let path = if page.path.contains("{id}") { things.named(page.path) } else { page.path.into() };
    if page.method == "get" {
        return browser.get(app, &path).await;
    }
    let fields = things.fields();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.post(app, &path, &fields).await
}

type Page = console::PagePath;

#[tokio::test]
async fn without_its_module_a_page_is_not_there_and_its_form_does_nothing() {
    let app = App::start().await;
    let banking: Vec<Page> =
        console::page_paths().into_iter().filter(|page| page.module == "banking").collect();
    assert!(banking.len() > 40, "{}", banking.len());
    for (slug, blueprint) in [("plain", Blueprint::Standard), ("digital", Blueprint::DigitalBank)] {
        let tenant = app.add_tenant(slug, blueprint, None).await;
        let things = Things::of(&app, slug).await;
        let mut browser = Browser::signed_in(&app, slug, "admin").await;
        let before = state(&app, tenant.id).await;
        for page in &banking {
            let answer = ask(&app, &mut browser, &things, page).await;
            assert_eq!(answer.status, 404, "{slug} {page:?}: {}", answer.text);
            assert!(answer.text.contains("There is nothing here"), "{slug} {page:?}");
            assert!(answer.text.contains("class=\"sidebar\""), "the console's own page");
            if page.method == "get" && page.path.contains("{id}") {
                let request = app.get(things.named(page.path)).header("cookie", &browser.jar());
                let part = request.header("hx-request", "true").send().await;
                assert_eq!(part.status, 404, "{slug} {page:?} as a fragment");
                assert!(!part.text.contains("Nov"), "{slug} {page:?}: {}", part.text);
            }
        }
        assert_eq!(state(&app, tenant.id).await, before, "{slug}: nothing read, nothing written");
        // The palette looks for none of it, and what the tenant has is there.
        for id in [things.customer, things.account, things.transfer] {
            let found = browser.get(&app, &format!("/palette?q={id}")).await;
            assert!(found.status == 200 && !found.text.contains(&id.to_string()), "{slug} {id}");
        }
        for path in ["/", "/audit", "/audit.csv", "/settings"] {
            assert_eq!(browser.get(&app, path).await.status, 200, "{slug} {path}");
        }
    }
}

#[tokio::test]
async fn with_the_module_the_same_requests_reach_their_pages() {
    let app = App::start().await;
    app.add_tenant("whole", Blueprint::CoreBank, None).await;
    let things = Things::of(&app, "whole").await;
    let mut browser = Browser::signed_in(&app, "whole", "admin").await;
    // Looked at before anything is changed.
    let (seen, sent): (Vec<Page>, Vec<Page>) = console::page_paths()
        .into_iter()
        .filter(|page| page.module == "banking")
        .partition(|page| page.method == "get");
    for page in seen.iter().chain(&sent) {
        let answer = ask(&app, &mut browser, &things, page).await;
        assert_ne!(answer.status, 404, "{page:?}: {}", answer.text);
        assert!(answer.status < 500, "{page:?}: {}", answer.text);
    }
}
