//! Records byte for byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::canonical;

fn context() -> EventContext {
    EventContext {
        tenant_id: Uuid::from_u128(1),
        organization_id: None,
        user_id: Some(Uuid::from_u128(2)),
        session_id: None,
        actor_kind: "user",
        ip_address: Some("192.0.2.7".parse().unwrap()),
        user_agent: Some("curl/8".to_owned()),
        request_id: Some("r-1".to_owned()),
        occurred_at: "2026-03-01T12:00:00.123456789Z".parse().unwrap(),
    }
}

#[test]
fn the_record_is_canonical_to_the_byte() {
    let event =
        AuditEvent::new(&context(), EventType::LedgerPosting, "transfer.create", "transfer")
            .resource_id(Uuid::from_u128(3))
            .new_values(json!({ "b": 1, "a": "é\"" }))
            .personal_fields();
    let expected = format!(
        concat!(
            r#"{{"action":"transfer.create","actor_kind":"user","compliance_flags":["GDPR","SOX"],"#,
            r#""event_id":"{}","event_type":"ledger_posting","ip_address":"192.0.2.7","#,
            r#""new_values":{{"a":"é\"","b":1}},"occurred_at":"2026-03-01T12:00:00.123456Z","#,
            r#""request_id":"r-1","resource_id":"00000000-0000-0000-0000-000000000003","#,
            r#""resource_type":"transfer","result":"success","severity":"medium","#,
            r#""tenant_id":"00000000-0000-0000-0000-000000000001","user_agent":"curl/8","#,
            r#""user_id":"00000000-0000-0000-0000-000000000002","v":1}}"#
        ),
        event.event_id()
    );
    let record = event.record().unwrap();
    assert_eq!(String::from_utf8(record.clone()).unwrap(), expected);
    let sealed = event.seal().unwrap();
    assert_eq!((sealed.leaf_hash, sealed.record), (merkle::leaf_hash(&record), record));
}

#[test]
fn long_user_agents_are_cut_between_characters() {
    let mut context = context();
    context.user_agent = Some(format!("a{}", "é".repeat(300)));
    let event = AuditEvent::new(&context, EventType::Login, "auth.login", "session");
    let kept = event.parts().context.user_agent.as_ref().unwrap();
    assert_eq!(kept.len(), 255);
}

#[test]
fn fractions_have_no_record() {
    let event = AuditEvent::new(&context(), EventType::DataQuery, "account.list", "account");
    let error = event.details(json!({ "rate": 4.25 })).record().unwrap_err();
    assert!(error.to_string().contains("account.list"), "{error}");
}

proptest! {
    #[test]
    fn ids_are_ordered_by_time(earlier in 0_i64..4_000_000_000_000_000, step in 1_i64..1_000_000) {
        let at = |microsecond| Timestamp::from_microsecond(microsecond).unwrap();
        // Twelve bits of fraction tell apart what lies a microsecond apart.
        let (first, second) = (event_id_at(at(earlier)), event_id_at(at(earlier + step)));
        prop_assert!(first < second);
        prop_assert_eq!(first.get_version_num(), 7);
        prop_assert!(first_event_id_at(at(earlier)) <= first);
    }

    #[test]
    fn every_record_is_the_json_that_was_meant(text in "\\PC{0,40}", number in -(1_i64 << 53) + 1..(1_i64 << 53)) {
        let values = json!({ text.clone(): [text.clone(), number, null, true, {}] });
        let event = AuditEvent::new(&context(), EventType::DataModification, "x", "y")
            .old_values(values.clone());
        let record: Value = serde_json::from_slice(&event.record().unwrap()).unwrap();
        prop_assert_eq!(&record["old_values"], &values);
        prop_assert_eq!(canonical::to_vec(&record).unwrap(), event.record().unwrap());
    }
}
