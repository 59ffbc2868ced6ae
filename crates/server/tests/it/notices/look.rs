//! The look of a tenant's messages, and where they go in development.

use std::sync::Arc;

use notify::{Branding, Channel, Folder, SetBranding, SmtpSecurity, Transports};
use operation::{Call, OperationError};
use tenancy::{Actor, OpContext};

use super::mail_server::MailServer;
use super::{CODE, Post, mail_over};

#[tokio::test]
async fn a_tenants_look_is_its_admins_to_choose() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let branding = Branding {
        display_name: Some("Horní banka".to_owned()),
        logo_text: Some("HB".to_owned()),
        brand_colour: Some("#0a6b3d".to_owned()),
        support_address: Some("help@bank.example".to_owned()),
    };
    let choose = async |role: &str, branding: Branding| {
        let actor = Actor::user(post.app.bank.users[role], vec![role.to_owned()]);
        let context = OpContext { actor, ..post.context.clone() };
        let call = Call { context, idempotency_key: None, command: SetBranding { branding } };
        post.app.operations.run_one(call).await
    };
    let refused = choose("customer", branding.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, OperationError::Refused(refusal) if refusal.kind.status() == 403),
        "{refused}"
    );
    let two_lines =
        Branding { display_name: Some("a\r\nBcc: b".to_owned()), ..Branding::default() };
    let refused = choose("admin", two_lines).await.unwrap_err();
    assert!(
        matches!(&refused, OperationError::Refused(refusal) if refusal.kind.status() == 422),
        "{refused}"
    );
    choose("admin", branding.clone()).await.unwrap();
    choose("admin", branding).await.unwrap();
    post.news().await;
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 1);
    let mail = &server.mails()[0];
    assert_eq!(mail.header("Reply-To"), "help@bank.example");
    assert!(mail.header("From").contains("=?utf-8?"), "{}", mail.header("From"));
    assert!(mail.data.contains("#0a6b3d") || mail.data.contains("0a6b3d"), "{}", mail.data);
    let sql =
        "SELECT count(*) FROM audit_log WHERE action = 'branding.update' AND result = 'success'";
    assert_eq!(post.app.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn in_development_they_are_written_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let post = Post::open().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notices");
    let transport: Arc<dyn notify::Transport> = Arc::new(Folder::new(&path));
    let notices =
        post.notices(Transports { email: Some(Arc::clone(&transport)), sms: Some(transport) });
    let id = post.code(Channel::Email).await;
    let other = post.code(Channel::Sms).await;
    assert_eq!(
        post.send(&notices, Channel::Email).await + post.send(&notices, Channel::Sms).await,
        2
    );
    for name in [format!("{id}.email.txt"), format!("{id}.html"), format!("{other}.sms.txt")] {
        let file = path.join(&name);
        assert!(std::fs::read_to_string(&file).unwrap().contains(CODE), "{name}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}
