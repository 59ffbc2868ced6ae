//! Importing a bank: exactly once whatever happens in between, and to the heller.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use banking::import::{Import, ImportMap, Plan, load, reconcile};
use tenancy::OpContext;

use crate::{bank_world::BankWorld, cli::strongroom};

fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

fn plan(map: &str, folder: &str) -> (ImportMap, Plan) {
    let map = ImportMap::parse(&fs::read_to_string(repository(map)).unwrap()).unwrap();
    let plan = Plan::read(&map, &repository(folder)).unwrap();
    (map, plan)
}

fn sample() -> (ImportMap, Plan) {
    plan("examples/sample-bank.toml", "examples/sample-bank")
}

fn import<'a>(world: &BankWorld, map: &'a ImportMap, plan: &'a Plan) -> Import<'a> {
    Import { source: &map.source, plan, keyring: Arc::clone(&world.keyring) }
}

/// Everything that an import may write, counted.
async fn counts(world: &BankWorld) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in [
        "customers",
        "savings_accounts",
        "account_parties",
        "transfers",
        "transactions",
        "import_items",
    ] {
        let row =
            world.superuser.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap();
        counts.push(row.get(0));
    }
    counts
}

async fn assert_books_are_right(world: &BankWorld, context: &OpContext) {
    let report = ledger::verify::verify(context, &world.app, |_| {}).await.unwrap();
    assert_eq!(report.fault_count, 0, "{:?}", report.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_loaded_once_and_reconciled() {
    let world = BankWorld::new().await;
    let context = world.tenant("sample").await;
    let (map, plan) = sample();
    let import = import(&world, &map, &plan);

    let mut last = None;
    let loaded = load(&world.operations, &context, &import, |at| last = Some(at)).await.unwrap();
    assert_eq!((loaded.customers, loaded.accounts, loaded.transactions), (3, 3, 8));
    assert_eq!(loaded.refused, []);
    assert_eq!(last.map(|at| (at.done, at.total)), Some((8, 8)));
    let after = counts(&world).await;
    assert_eq!(after, [3, 3, 5, 8, 16, 14]);
    assert_books_are_right(&world, &context).await;

    let again = load(&world.operations, &context, &import, |_| {}).await.unwrap();
    assert_eq!(
        (again.customers, again.accounts, again.transactions, again.already_loaded),
        (0, 0, 0, 14)
    );
    assert_eq!(counts(&world).await, after, "a second run changes nothing");

    let report = reconcile(&world.app, &context, &plan, &map.source).await.unwrap();
    assert_eq!((report.exact, report.rounded, report.cut_off, report.unexplained), (2, 0, 0, 1));
    let odd = &report.accounts[0];
    assert_eq!((odd.account.as_str(), odd.computed, odd.published), ("A3", 5_500, Some(5_400)));

    let dates: Vec<String> = world
        .superuser
        .query("SELECT DISTINCT transaction_date::text FROM transactions ORDER BY 1", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(
        dates.first().map(String::as_str),
        Some("2025-01-02"),
        "movements keep their own dates"
    );
    let overdraft: i64 = world
        .superuser
        .query_one("SELECT max(overdraft_limit) FROM ledger_accounts", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(overdraft, 15_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_runs_load_every_record_once() {
    let world = BankWorld::new().await;
    let context = world.tenant("sample").await;
    let (map, plan) = sample();
    let import = import(&world, &map, &plan);
    let runs = (0..6).map(|_| load(&world.operations, &context, &import, |_| {}));
    let results = futures_util::future::join_all(runs).await;
    assert!(results.iter().any(Result::is_ok), "{results:?}");
    load(&world.operations, &context, &import, |_| {}).await.unwrap();
    assert_eq!(counts(&world).await, [3, 3, 5, 8, 16, 14]);
    assert_books_are_right(&world, &context).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_rule_refuses_is_named_and_the_rest_goes_on() {
    let world = BankWorld::new().await;
    let context = world.tenant("sample").await;
    let (map, mut plan) = sample();
    plan.customers[1].first_name = String::new();
    let import = import(&world, &map, &plan);
    let loaded = load(&world.operations, &context, &import, |_| {}).await.unwrap();
    assert_eq!((loaded.customers, loaded.accounts), (2, 1));
    let refused: Vec<_> = loaded.refused.iter().map(|(source_id, _)| source_id.as_str()).collect();
    assert_eq!(&refused[..3], ["C2", "A1", "A2"], "the customer, and the accounts that need it");
    assert_books_are_right(&world, &context).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_system_imports() {
    let world = BankWorld::new().await;
    let context = world.tenant("sample").await;
    let admin = world.person(&context, "super_admin").await;
    let (map, plan) = sample();
    let refused = load(&world.operations, &admin, &import(&world, &map, &plan), |_| {}).await;
    assert!(
        matches!(refused, Err(operation::OperationError::Refused(refusal)) if refusal.code == "permission_denied")
    );
    assert_eq!(counts(&world).await, [0; 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_bank_reconciles_to_the_heller() {
    if !repository("../shared/data/berka").exists() {
        println!("skipped: ../shared/data/berka absent");
        return;
    }
    let world = BankWorld::new().await;
    let context = world.tenant("berka").await;
    let (map, plan) = plan("examples/berka.toml", "../shared/data/berka");
    let loaded =
        load(&world.operations, &context, &import(&world, &map, &plan), |_| {}).await.unwrap();
    assert_eq!((loaded.customers, loaded.accounts, loaded.transactions), (5_369, 4_500, 49_102));
    assert_eq!(loaded.refused, []);
    assert_eq!(counts(&world).await, [5_369, 4_500, 5_369, 49_102, 98_204, 58_971]);
    let disponents: i64 = world
        .superuser
        .query_one("SELECT count(*) FROM account_parties WHERE party_role = 'disponent'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(disponents, 869);
    let report = reconcile(&world.app, &context, &plan, &map.source).await.unwrap();
    assert_eq!(
        (report.exact, report.rounded, report.cut_off, report.unexplained),
        (342, 859, 28, 0)
    );
    assert!(
        report
            .accounts
            .iter()
            .all(|account| !account.explanation.is_empty() && account.missing == 0)
    );
    assert_books_are_right(&world, &context).await;
}

/// A bank of `accounts` customers with an account each and `movements` movements on each.
fn write_bank(folder: &Path, accounts: usize, movements: usize) {
    let mut files = [
        "number,first,last,born,tax_id\n".to_owned(),
        "number,opened\n".to_owned(),
        "number,customer,account,role\n".to_owned(),
        "number,account,date,sign,amount,balance,text\n".to_owned(),
    ];
    for at in 0..accounts {
        writeln!(files[0], "C{at},Given,Family{at},1980-01-01,{}", 1_000_000 + at).unwrap();
        writeln!(files[1], "A{at},2024-12-31").unwrap();
        writeln!(files[2], "P{at},C{at},A{at},O").unwrap();
        for number in 1..=movements {
            let date = format!("2025-01-{:02}", 1 + number % 28);
            writeln!(files[3], "T{at}-{number},A{at},{date},+,1.00,,").unwrap();
        }
    }
    for (name, content) in
        ["customers", "accounts", "parties", "transactions"].into_iter().zip(files)
    {
        fs::write(folder.join(format!("{name}.csv")), content).unwrap();
    }
    let map = fs::read_to_string(repository("examples/sample-bank.toml")).unwrap();
    fs::write(folder.join("map.toml"), map.replace("balance = \"balance\"\n", "")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_goes_on_where_it_stopped() {
    let world = BankWorld::new().await;
    let folder = tempfile::tempdir().unwrap();
    write_bank(folder.path(), 40, 500);
    let url = world.database.superuser_url();
    let command = |arguments: &[&str]| {
        let mut command = strongroom(folder.path());
        command.env("DATABASE_URL", &url).env("ENCRYPTION_KEY", "07".repeat(32)).args(arguments);
        command
    };
    let succeeded = |output: Output| {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{complaint}");
        output.stdout
    };
    succeeded(
        command(&[
            "tenant",
            "create",
            "--blueprint",
            "core-bank",
            "--slug",
            "killed",
            "--name",
            "K",
        ])
        .output()
        .unwrap(),
    );
    let import = ["-o", "json", "import", "--tenant", "killed", "--map", "map.toml", "--from", "."];

    let posted = async || -> i64 {
        let row = world
            .superuser
            .query_one("SELECT count(*) FROM import_items WHERE kind = 'transaction'", &[]);
        row.await.unwrap().get(0)
    };
    let complaints = folder.path().join("complaints.txt");
    let log = fs::File::create(&complaints).unwrap();
    let mut child = command(&import).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while posted().await == 0 && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "nothing was imported within two minutes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = posted().await;
    assert!(
        before > 0 && before < 20_000,
        "{before} of 20000: {}",
        fs::read_to_string(complaints).unwrap()
    );

    let report: serde_json::Value =
        serde_json::from_slice(&succeeded(command(&import).output().unwrap())).unwrap();
    assert_eq!(report["transactions"].as_i64(), Some(20_000 - before), "{report}");
    assert_eq!(counts(&world).await, [40, 40, 40, 20_000, 40_000, 20_080]);
    succeeded(command(&["ledger", "verify"]).output().unwrap());
    succeeded(command(&["audit", "verify"]).output().unwrap());
}
