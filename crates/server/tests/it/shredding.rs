//! An erasure outlives backups: who was erased stays so when an older copy of the database is
//! restored, though it holds what they were sealed under; everybody else opens again.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use banking::{CreateCustomer, CustomerType, NewCustomer, PersonalData, ReadCustomer};
use operation::{Call, OperationError, Operations};
use serde_json::{Value, json};
use tenancy::{
    Database, OpContext,
    keyring::{KeyShares, Keyring, KeyringError, Rotatable, store_subject_keys},
};
use testkit::{TestDatabase, connect};
use uuid::Uuid;

use crate::{
    bank_world::{BankWorld, open},
    cli::strongroom,
    key_changes::{destroy, rotate, tenant},
    key_epochs::roots,
};

const ROOT: &str = "07";

/// A bank whose field KEKs have shares in a folder.
struct Bank {
    world: BankWorld,
    context: OpContext,
    folder: tempfile::TempDir,
}

impl Bank {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = BankWorld::new().await;
        world.keyring = Arc::new(Keyring::new(roots()).sharing(file_of_shares(folder.path())));
        let context = tenant(&world, "our-bank").await;
        Self { world, context, folder }
    }

    async fn customer(&self, name: &str) -> Uuid {
        let personal = PersonalData {
            first_name: Some(name.to_owned()),
            last_name: Some("Nováková".to_owned()),
            email: Some(format!("{name}@banka.example")),
            ..PersonalData::default()
        };
        let customer =
            NewCustomer { customer_type: CustomerType::Individual, personal, user_id: None };
        let command = CreateCustomer { keyring: Arc::clone(&self.world.keyring), customer };
        self.world.run(&self.context, command).await.unwrap().id
    }

    /// Somebody who signs in, with a name that is sealed.
    async fn person(&self) -> Uuid {
        let id = self.world.person(&self.context, "customer").await.actor.id;
        let transaction = self.world.app.begin(&self.context).await.unwrap();
        let keys = self.world.keyring.tenant_in(&transaction).await.unwrap();
        let subject = keys.make_subject_key().unwrap();
        store_subject_keys(&transaction, &keys, &[(id, &subject)]).await.unwrap();
        transaction.commit().await.unwrap();
        let name = keys.seal(&subject, ("users", "full_name_sealed", id), "Jana").unwrap();
        let sql = "UPDATE users SET full_name_sealed = $2 WHERE id = $1";
        self.world.run_sql(sql, &[&id, &name]).await;
        id
    }

    fn run(&self, database: &TestDatabase, root: &str, arguments: &[&str]) -> Output {
        strongroom(self.folder.path())
            .env("DATABASE_URL", database.superuser_url())
            .env("ENCRYPTION_KEY", root.repeat(32))
            .env("KEY_SHARES", setting(self.folder.path()))
            .args(arguments)
            .output()
            .unwrap()
    }

    fn succeed(&self, database: &TestDatabase, arguments: &[&str]) -> Value {
        let done = self.run(database, ROOT, &[arguments, &["-o", "json"]].concat());
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap_or_default()
    }

    /// What erasing for good takes: another KEK, everybody who lives under it, the old one gone.
    fn end_the_kek(&self, epoch: &str) {
        let ours = ["--tenant", "our-bank"];
        let field = ["--kek", "field"];
        let database = &self.world.database;
        self.succeed(database, &[&["keys", "rotate"][..], &ours, &field].concat());
        self.succeed(database, &[&["keys", "rewrap"][..], &ours].concat());
        let revoke = [&["keys", "revoke"][..], &ours, &field, &["--epoch", epoch]].concat();
        self.succeed(database, &revoke);
    }

    /// A bundle that was altered or is of another installation is not taken.
    fn refuse_other_bundles(&self, copy: &TestDatabase, bundle: &str, people: [Uuid; 2]) {
        let [erased, neighbour] = people;
        let good = fs::read_to_string(bundle).unwrap();
        assert!(!good.contains("Bea"));
        let forged = self.folder.path().join("forged").display().to_string();
        let cut: Vec<&str> = good.lines().collect();
        for (text, words) in [
            (good.replacen(&erased.to_string(), &neighbour.to_string(), 1), "was altered"),
            (cut[..cut.len() - 1].join("\n"), "is not whole"),
            (cut[1..].join("\n"), "is not what"),
            (String::new(), "is not whole"),
        ] {
            fs::write(&forged, text).unwrap();
            let refused = self.run(copy, ROOT, &["keys", "import", &forged]);
            let told = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && told.contains(words), "{words}: {told}");
        }
        let refused = self.run(copy, "08", &["keys", "import", bundle]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains("another root"), "{told}");
    }
}

fn setting(folder: &Path) -> String {
    format!("file:{}", folder.join("shares").display())
}

fn file_of_shares(folder: &Path) -> Option<KeyShares> {
    KeyShares::parse(&setting(folder))
}

/// Ids of the keys that the file has a share of.
fn shared(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("shares")).unwrap();
    text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

fn backup(database: &TestDatabase, file: &Path) {
    let url = format!("--dbname={}", database.superuser_url());
    let to = format!("--file={}", file.display());
    let done = Command::new("pg_dump").args(["--format=custom", &url, &to]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

async fn restored(file: &Path) -> TestDatabase {
    let database = TestDatabase::empty().await;
    let url = format!("--dbname={}", database.superuser_url());
    let from = file.display().to_string();
    let done = Command::new("pg_restore").args(["--exit-on-error", &url, &from]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    database
}

/// What a node on a database opens of a customer.
async fn given_name(
    app: &Database,
    keyring: &Arc<Keyring>,
    context: &OpContext,
    customer: Uuid,
) -> Result<Option<String>, OperationError> {
    let policies = Arc::new(access::Policies::load().unwrap());
    let operations = Operations::new(app.clone(), policies, operation::AccessLog::default());
    let command = ReadCustomer { keyring: Arc::clone(keyring), customer_id: customer };
    let call = Call { context: context.clone(), idempotency_key: None, command };
    operations.run_one(call).await.map(|reply| reply.output.personal.first_name)
}

async fn count(database: &TestDatabase, sql: &str) -> i64 {
    connect(&database.superuser_url()).await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_erased_stays_erased_when_an_older_backup_is_restored() {
    let bank = Bank::new().await;
    let (world, ours) = (&bank.world, &bank.context);
    let (erased, neighbour) = (bank.customer("Anna").await, bank.customer("Bea").await);
    let person = bank.person().await;
    let file = bank.folder.path().join("backup");
    backup(&world.database, &file);

    world
        .superuser
        .batch_execute(&format!("SET app.current_tenant = '{}'", ours.tenant_id()))
        .await
        .unwrap();
    world.run_sql("SELECT shred_user($1)", &[&person]).await;
    let sql =
        "UPDATE subject_keys SET wrapped_key = NULL, shredded_at = now() WHERE subject_id = $1";
    world.run_sql(sql, &[&erased]).await;
    bank.end_the_kek("1");
    let bundle = bank.folder.path().join("bundle").display().to_string();
    bank.succeed(&world.database, &["keys", "export", &bundle]);

    let copy = restored(&file).await;
    let app = open(&copy, "strongroom_app");
    let node = || Arc::new(Keyring::new(roots()).sharing(file_of_shares(bank.folder.path())));
    // The root, the share that there is and all of the backup open nothing of anybody.
    let closed = node().tenant(&app, ours).await.unwrap_err();
    assert!(matches!(closed, KeyringError::NoShare(_)), "{closed:?}");
    assert!(closed.to_string().contains("strongroom keys import"), "{closed}");
    for customer in [erased, neighbour] {
        assert!(given_name(&app, &node(), ours, customer).await.is_err());
    }

    bank.refuse_other_bundles(&copy, &bundle, [erased, neighbour]);
    let living =
        "SELECT count(*) FROM subject_keys WHERE wrapped_key IS NOT NULL AND kek_epoch = 1";
    assert_eq!(count(&copy, living).await, 3);

    let adopted = bank.succeed(&copy, &["keys", "import", &bundle]);
    let ours_adopted =
        adopted.as_array().unwrap().iter().find(|line| line["tenant"] == "our-bank").unwrap();
    assert_eq!(ours_adopted["erased"], json!(2), "{adopted}");
    assert_eq!(ours_adopted["subject_keys"], json!(1), "{adopted}");
    let node = node();
    let opened = given_name(&app, &node, ours, neighbour).await.unwrap();
    assert_eq!(opened.as_deref(), Some("Bea"));
    assert_eq!(given_name(&app, &node, ours, erased).await.unwrap(), None);
    let gone =
        "SELECT count(*) FROM users WHERE deleted_at IS NOT NULL AND full_name_sealed IS NULL";
    assert_eq!(count(&copy, gone).await, 1);
    assert_eq!(count(&copy, living).await, 0);
    let records = "SELECT count(*) FROM audit_log WHERE action = 'data_key.adopt' \
        AND event_type::text = 'data_modification'";
    assert_eq!(count(&copy, records).await, 2);
    // Once more changes nothing.
    let again = bank.succeed(&copy, &["keys", "import", &bundle]);
    for line in again.as_array().unwrap() {
        for counted in ["keks", "data_keys", "subject_keys", "erased"] {
            assert_eq!(line[counted], json!(0), "{again}");
        }
    }
    assert_eq!(count(&copy, records).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_shares_a_backup_brings_back_who_was_erased() {
    // What the test above would find if shares did nothing.
    let folder = tempfile::tempdir().unwrap();
    let world = BankWorld::new().await;
    let ours = tenant(&world, "our-bank").await;
    let bank = Bank { world, context: ours, folder };
    let erased = bank.customer("Anna").await;
    let file = bank.folder.path().join("backup");
    backup(&bank.world.database, &file);
    let sql =
        "UPDATE subject_keys SET wrapped_key = NULL, shredded_at = now() WHERE subject_id = $1";
    bank.world.run_sql(sql, &[&erased]).await;
    let copy = restored(&file).await;
    let app = open(&copy, "strongroom_app");
    let node = Arc::new(Keyring::new(roots()));
    let opened = given_name(&app, &node, &bank.context, erased).await.unwrap();
    assert_eq!(opened.as_deref(), Some("Anna"));
    // From the next rotation on they have one, and doctor has said so before.
    let shared = Keyring::new(roots()).sharing(file_of_shares(bank.folder.path()));
    let alone = shared.keks_without_share(&bank.world.app, &bank.context).await.unwrap();
    assert_eq!(alone, [1]);
    bank.end_the_kek("1");
    let alone = shared.keks_without_share(&bank.world.app, &bank.context).await.unwrap();
    assert!(alone.is_empty(), "{alone:?}");
}

#[tokio::test]
async fn the_share_of_a_destroyed_key_goes_though_whoever_destroyed_it_was_cut_off() {
    let bank = Bank::new().await;
    let (world, ours, folder) = (&bank.world, &bank.context, bank.folder.path());
    let anna = bank.customer("Anna").await;
    let first = shared(folder);
    assert_eq!(first.len(), 1);
    // One that is not committed ends no share.
    rotate(world, ours, Rotatable::FieldKek).await.unwrap();
    let both = shared(folder);
    assert_eq!(both.len(), 2);
    let command = operation::RewrapKeys { keyring: Arc::clone(&world.keyring) };
    world.run(ours, command).await.unwrap();
    let transaction = world.app.begin(ours).await.unwrap();
    assert!(world.keyring.destroy(&transaction, Rotatable::FieldKek, 1).await.unwrap());
    world.keyring.current_in(&transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    let node = Arc::new(Keyring::new(roots()).sharing(file_of_shares(folder)));
    node.tenant(&world.app, ours).await.unwrap();
    assert_eq!(shared(folder).len(), 2);
    // Destroyed, and the process that did it gone before the share was.
    destroy(world, ours, Rotatable::FieldKek, 1).await.unwrap();
    assert_eq!(shared(folder).len(), 2);
    let node = Arc::new(Keyring::new(roots()).sharing(file_of_shares(folder)));
    assert_eq!(given_name(&world.app, &node, ours, anna).await.unwrap().as_deref(), Some("Anna"));
    node.tenant(&world.app, ours).await.unwrap();
    let left = shared(folder);
    assert!(left.len() == 1 && left != first, "{left:?}");
}
