//! Owns the rows within one process: an access decision, a sealed field. Refuses to
//! know servers.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use access::{CustomRoles, Permission, Policies, Principal, Resource, Situation};
use anyhow::Context as _;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tenancy::Blueprint;
use uuid::Uuid;
use vault::{DataKey, FieldContext, Purpose, TenantKey as _};

use super::{Effort, figures};
use crate::report::Outcome;
use crate::statistics::{Round, Summary, float, median, percentile};

const FIELD_BYTES: usize = 64;
/// Ciphertexts that are opened in turn.
const ONE_PAGE: usize = 50;
const TENANT: Uuid = Uuid::from_u128(0x01a2_00ea_0000_7000_8000_0000_0000_0001);
const ROW: Uuid = Uuid::from_u128(0x01a2_00ea_0000_7000_8000_0000_0000_0002);
/// One sample of a calibrated loop.
const SAMPLE: Duration = Duration::from_micros(500);
/// What a bank's day consists of.
const ASKED: [&str; 6] = [
    "account:read",
    "transaction:read",
    "transaction:create",
    "customer:read",
    "customer:update",
    "audit:read",
];

/// The time of one call in nanoseconds: the median of many short, calibrated loops.
fn nanoseconds_a_call(window: Duration, mut work: impl FnMut()) -> f64 {
    let mut calls = 1_u32;
    loop {
        let started = Instant::now();
        (0..calls).for_each(|_| work());
        if started.elapsed() >= SAMPLE || calls >= 1 << 24 {
            break;
        }
        calls *= 2;
    }
    let ends = Instant::now() + window;
    let mut samples = Vec::new();
    while samples.is_empty() || Instant::now() < ends {
        let started = Instant::now();
        (0..calls).for_each(|_| work());
        samples.push(started.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
    }
    median(samples)
}

pub(super) fn cedar(effort: Effort) -> anyhow::Result<Outcome> {
    let roles = Blueprint::CoreBank.roles();
    let holders: Vec<Holder> = roles
        .iter()
        .map(|role| Holder { roles: vec![(*role).to_owned()], custom: vec![] })
        .collect();
    decisions(effort, &holders)
}

/// Of somebody who holds a custom role beside the least of the blueprint's: the blueprint
/// refuses first, and the role is asked then.
pub(super) fn cedar_custom(effort: Effort) -> anyhow::Result<Outcome> {
    let definition = serde_json::json!({ "name": "night_desk", "permissions": [
        { "permission": "account:read", "conditions": { "owner_only": true } },
        { "permission": "transaction:read" },
        { "permission": "transaction:create", "conditions": { "mfa_level": 1, "networks": ["10.0.0.0/8"] } },
        { "permission": "customer:*:own" },
    ]});
    let custom = vec![Arc::from(definition.to_string())];
    decisions(effort, &[Holder { roles: vec!["customer".to_owned()], custom }])
}

/// Whoever asks.
struct Holder {
    roles: Vec<String>,
    custom: Vec<Arc<str>>,
}

/// The p50 of uncached decisions, in µs.
fn decisions(effort: Effort, holders: &[Holder]) -> anyhow::Result<Outcome> {
    let policies = Policies::load()?;
    let asked: Vec<Permission> = Permission::ALL
        .iter()
        .copied()
        .filter(|permission| ASKED.contains(&permission.as_str()))
        .collect();
    anyhow::ensure!(asked.len() == ASKED.len(), "a permission that is asked for has another name");
    let address = Some(IpAddr::from([10, 1, 2, 3]));
    let situation = Situation { mfa_level: 1, address, ..Situation::default() };
    let mut allowed = 0_u64;
    let mut p50_us = Vec::with_capacity(effort.rounds);
    for _ in 0..effort.rounds {
        let ends = Instant::now() + effort.short_window();
        let mut taken_ns = Vec::new();
        while Instant::now() < ends {
            for holder in holders {
                for (permission, owned) in
                    asked.iter().flat_map(|asked| [(*asked, false), (*asked, true)])
                {
                    let principal = Principal {
                        user_id: ROW,
                        roles: &holder.roles,
                        organization: None,
                        department: None,
                        custom: CustomRoles { definitions: &holder.custom, situation },
                    };
                    let resource = Resource::for_permission(permission, Some(ROW)).owned(owned);
                    let started = Instant::now();
                    let decision = policies.decide_uncached(
                        Blueprint::CoreBank,
                        &principal,
                        permission,
                        &resource,
                    );
                    taken_ns.push(u64::try_from(started.elapsed().as_nanos())?);
                    anyhow::ensure!(!decision.errored(), "{:?}", decision.errors);
                    allowed += u64::from(decision.allowed());
                }
            }
        }
        p50_us.push(float(percentile(&mut taken_ns, 50)) / 1e3);
    }
    anyhow::ensure!(allowed > 0, "no decision allowed anything: the question is wrong");
    Ok(figures(&p50_us))
}

pub(super) fn seal(effort: Effort) -> anyhow::Result<Outcome> {
    let field = Field::new()?;
    let measured = || {
        // Sealing cannot fail: the key is the tenant's.
        let _ = black_box(vault::seal(&field.key, &CELL, black_box(&field.plaintext)));
    };
    let limit = || {
        let mut text = black_box(field.plaintext.to_vec());
        let _ = field.bare.seal_in_place_append_tag(nonce(), Aad::empty(), &mut text);
        black_box(text);
    };
    Ok(compare(effort, measured, limit))
}

pub(super) fn open(effort: Effort) -> anyhow::Result<Outcome> {
    let field = Field::new()?;
    // Many of one key, as a page of a list opens them.
    let sealed = (0..ONE_PAGE)
        .map(|_| vault::seal(&field.key, &CELL, &field.plaintext))
        .collect::<Result<Vec<_>, _>>()?;
    for one in &sealed {
        let opened = vault::open(&field.key, &CELL, one)?;
        anyhow::ensure!(opened.expose() == field.plaintext, "what was sealed does not open");
    }
    let mut next = sealed.iter().cycle();
    let mut bare = field.plaintext.to_vec();
    field
        .bare
        .seal_in_place_append_tag(nonce(), Aad::empty(), &mut bare)
        .ok()
        .context("AES-GCM does not seal")?;
    let measured = || {
        if let Some(one) = next.next() {
            let _ = black_box(vault::open(&field.key, &CELL, black_box(one)));
        }
    };
    let limit = || {
        let mut text = black_box(bare.clone());
        let opened = field.bare.open_in_place(nonce(), Aad::empty(), &mut text).is_ok();
        black_box((opened, text));
    };
    Ok(compare(effort, measured, limit))
}

fn compare(effort: Effort, mut measured: impl FnMut(), mut limit: impl FnMut()) -> Outcome {
    let window = effort.short_window() / 2;
    let rounds: Vec<Round> = (0..effort.rounds * 2)
        .map(|_| Round {
            measured: nanoseconds_a_call(window, &mut measured),
            limit: nanoseconds_a_call(window, &mut limit),
        })
        .collect();
    Outcome { summary: Summary::of(&rounds), rounds: rounds.len(), note: None }
}

const CELL: FieldContext<'static> =
    FieldContext { tenant: TENANT, table: "customers", column: "last_name", row: ROW };

struct Field {
    key: DataKey,
    bare: LessSafeKey,
    plaintext: [u8; FIELD_BYTES],
}

impl Field {
    fn new() -> anyhow::Result<Self> {
        let bare = UnboundKey::new(&AES_256_GCM, &vault::random_bytes::<32>());
        Ok(Self {
            key: DataKey::generate(TENANT, Purpose::FieldData, 1)?,
            bare: LessSafeKey::new(bare.ok().context("AES-256 takes 32 bytes")?),
            plaintext: vault::random_bytes(),
        })
    }
}

/// The limit repeats its nonce: nothing is kept, and drawing one is part of our work,
/// not of the limit's.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([7; NONCE_LEN])
}
