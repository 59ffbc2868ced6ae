//! What leaves over the SMS gateway, and what its answers decide.

use std::sync::Arc;

use notify::{Channel, Template, Transports};
use serde_json::json;

use super::certificate::Certificate;
use super::sms_gateway::{Instead, NUMBER, SmsGateway};
use super::{CODE, PHONE, Post, SENT, sms_over};

#[tokio::test]
async fn a_gateway_is_asked_as_twilio_is() {
    let post = Post::open().await;
    let gateway = SmsGateway::start().await;
    let id = post.code(Channel::Sms).await;
    assert_eq!(post.send(&post.notices(sms_over(&gateway)), Channel::Sms).await, 1);
    let taken = gateway.taken();
    let [sms] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!((sms.fields["To"].as_str(), sms.fields["From"].as_str()), (PHONE, NUMBER));
    assert!(sms.fields["Body"].starts_with(&format!("bank: {CODE} is your code")), "{sms:?}");
    assert_eq!(sms.key, id.to_string());
    assert_eq!((post.row(id).await.outcome(), post.row(id).await.wiped), (SENT, true));
}

#[tokio::test]
async fn what_a_gateway_says_decides() {
    let instead = |status, retry_after, body| Instead { status, retry_after, body };
    // The answer; the state and error that follow; when it is tried again, if it is.
    let table = [
        (instead(429, Some("90"), "{}"), "queued", Some("gateway_429"), Some((89, 91))),
        (instead(429, None, "busy"), "queued", Some("gateway_429"), Some((3, 7))),
        (instead(500, None, ""), "queued", Some("gateway_500"), Some((3, 7))),
        (instead(503, Some("999999"), ""), "queued", Some("gateway_503"), Some((3_599, 3_601))),
        (
            instead(400, None, r#"{"code":21211,"message":"'To' +420123456789 is invalid"}"#),
            "failed",
            Some("gateway_400_21211"),
            None,
        ),
        (
            instead(401, None, r#"{"code":20003}"#),
            "queued",
            Some("gateway_401_20003"),
            Some((3, 7)),
        ),
        (instead(302, None, ""), "queued", Some("gateway_302"), Some((3, 7))),
    ];
    let post = Post::open().await;
    for (answer, state, error, next) in table {
        let gateway = SmsGateway::start().await;
        let notices = post.notices(sms_over(&gateway));
        let id = post.put(Channel::Sms, Template::PhoneChanged, json!({})).await;
        gateway.answer(answer);
        assert_eq!(post.send(&notices, Channel::Sms).await, 0, "{answer:?}");
        let row = post.row(id).await;
        assert_eq!((row.outcome(), row.wiped), ((state, error), state == "failed"), "{answer:?}");
        let Some((least, most)) = next else { continue };
        let sql = "SELECT extract(epoch FROM next_attempt_at)::bigint FROM notices WHERE id = $1";
        let next_s: i64 = post.app.superuser.query_one(sql, &[&id]).await.unwrap().get(0);
        let delay_s = next_s - post.clock.now_s();
        assert!((least..=most).contains(&delay_s), "{answer:?}: {delay_s}");
        post.wait_s(most);
        let fresh = post.notices(sms_over(&gateway));
        assert_eq!(post.send(&fresh, Channel::Sms).await, 1, "{answer:?}");
        assert_eq!((gateway.asked(), gateway.taken()[0].key.clone()), (2, id.to_string()));
    }
}

#[tokio::test]
async fn a_wrong_token_sends_nothing_and_is_no_fault_of_the_message() {
    let post = Post::open().await;
    let gateway = SmsGateway::start().await;
    let id = post.code(Channel::Sms).await;
    let mut config = gateway.config();
    config.auth_token = "another".to_owned().into();
    let sms = Some(Arc::new(notify::Gateway::new(config).unwrap()) as Arc<dyn notify::Transport>);
    let notices = post.notices(Transports { email: None, sms });
    assert_eq!(post.send(&notices, Channel::Sms).await, 0);
    assert_eq!(post.row(id).await.outcome(), ("queued", Some("gateway_401_20003")));
    assert!(gateway.taken().is_empty());
    // Nor is it said to a gateway whose certificate nobody vouches for.
    let mut config = gateway.config();
    config.roots = Some(Certificate::of("localhost").roots().to_owned());
    assert!(notify::Gateway::new(config).is_err(), "the file is gone");
    let strange = Certificate::of("localhost");
    let mut config = gateway.config();
    config.roots = Some(strange.roots().to_owned());
    let sms = Some(Arc::new(notify::Gateway::new(config).unwrap()) as Arc<dyn notify::Transport>);
    post.wait_s(10);
    assert_eq!(post.send(&post.notices(Transports { email: None, sms }), Channel::Sms).await, 0);
    assert_eq!(post.row(id).await.outcome(), ("queued", Some("tls_refused")));
    assert_eq!(gateway.asked(), 1);
}
