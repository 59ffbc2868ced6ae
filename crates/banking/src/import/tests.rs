//! The plan of the sample in `examples/`, of broken files, and of a real bank.

use std::{collections::HashMap, fs, path::PathBuf};

use jiff::civil::date;

use super::{
    ImportMap, Plan,
    chain::{Fit, Movement, fit},
};

fn repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

fn map(path: &str) -> ImportMap {
    ImportMap::parse(&fs::read_to_string(repository(path)).unwrap()).unwrap()
}

fn fits(plan: &Plan) -> HashMap<&str, Fit> {
    let mut accounts: HashMap<&str, (Vec<Movement>, Vec<bool>)> = HashMap::new();
    for one in &plan.transactions {
        let (movements, cut) = accounts.entry(&one.account).or_default();
        movements.push(Movement { amount: one.amount, published: one.published });
        cut.push(plan.cut_off == Some(one.value_date));
    }
    accounts
        .into_iter()
        .map(|(account, (movements, cut))| (account, fit(&movements, &cut, plan.rounding)))
        .collect()
}

#[test]
fn the_sample_is_planned_in_the_order_its_balances_tell() {
    let plan =
        Plan::read(&map("examples/sample-bank.toml"), &repository("examples/sample-bank")).unwrap();
    assert_eq!(plan.faults, []);
    assert_eq!((plan.customers.len(), plan.accounts.len(), plan.transactions.len()), (3, 3, 8));
    let january: Vec<_> =
        plan.transactions.iter().take(3).map(|one| one.source_id.as_str()).collect();
    assert_eq!(january, ["T1", "T2", "T3"], "the interest came before the rent");
    let overdrafts: Vec<_> = plan.accounts.iter().map(|account| account.overdraft_limit).collect();
    assert_eq!(overdrafts, [15_000, 0, 0]);
    assert_eq!(plan.accounts[0].others, [("C2".to_owned(), "disponent".to_owned())]);
    let fits = fits(&plan);
    assert_eq!((fits["A1"], fits["A2"], fits["A3"]), (Fit::Exact, Fit::Exact, Fit::Unexplained));
}

#[test]
fn every_bad_line_is_named_and_the_good_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "customers.csv",
        "number,first,last,born,tax_id\nC1,A,B,1990-02-30,1\nC2,A,B,1990-01-01,2\nC2,A,B,1990-01-01,3\n",
    );
    write("accounts.csv", "number,opened\nA1,2025-01-01\nA2,2025-01-01\n");
    write("parties.csv", "number,customer,account,role\nP1,C1,A1,O\nP2,C2,A2,O\nP3,C2,A2,X\n");
    write(
        "transactions.csv",
        "number,account,date,sign,amount,balance,text\nT1,A2,2025-01-01,+,1.00,1.00,\nT2,A9,2025-01-01,+,1.00,1.00,\n\
         T3,A2,2025-01-01,?,1.00,1.00,\nT4,A2,2025-01-01,+,-1.00,1.00,\nT5,A2,2025-01-01,+,0.001,1.00,\nT6,A2\n",
    );
    let plan = Plan::read(&map("examples/sample-bank.toml"), folder.path()).unwrap();
    let faults: Vec<_> =
        plan.faults.iter().map(|fault| format!("{}:{}", fault.file, fault.line)).collect();
    let expected = [
        "transactions.csv:7",
        "customers.csv:2",
        "customers.csv:4",
        "parties.csv:2",
        "parties.csv:4",
        "accounts.csv:2",
        "transactions.csv:3",
        "transactions.csv:4",
        "transactions.csv:5",
        "transactions.csv:6",
    ];
    assert_eq!(faults, expected, "{:#?}", plan.faults);
    assert_eq!((plan.customers.len(), plan.accounts.len(), plan.transactions.len()), (1, 1, 1));
    assert_eq!(plan.cut_off, Some(date(2025, 1, 1)), "the file ends inside a record");
}

#[test]
fn a_real_bank_is_planned_to_the_heller() {
    let folder = repository("../shared/data/berka");
    if !folder.exists() {
        println!("skipped: ../shared/data/berka absent");
        return;
    }
    let plan = Plan::read(&map("examples/berka.toml"), &folder).unwrap();
    let counts = (plan.customers.len(), plan.accounts.len(), plan.transactions.len());
    assert_eq!(counts, (5_369, 4_500, 49_102));
    let disponents: usize = plan.accounts.iter().map(|account| account.others.len()).sum();
    assert_eq!(disponents, 869);
    let faults: Vec<_> =
        plan.faults.iter().map(|fault| (fault.file.as_str(), fault.line)).collect();
    assert_eq!(faults, [("trans.asc.xz", 49_104)], "the file's last line is cut off");
    let mut by_fit: HashMap<Fit, usize> = HashMap::new();
    for fit in fits(&plan).into_values() {
        *by_fit.entry(fit).or_default() += 1;
    }
    assert_eq!(by_fit.get(&Fit::Exact), Some(&342));
    assert_eq!(by_fit.get(&Fit::Unexplained), None, "{by_fit:?}");
    assert_eq!((by_fit[&Fit::Rounded], by_fit[&Fit::CutOff]), (859, 28));
}
