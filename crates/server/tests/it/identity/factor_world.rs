//! People with second factors, and what their phones would show.

use std::sync::Arc;

use identity::{
    FactorPresented, Identity, Method, SecondFactorDue, SetupRequest, SignIn, TokenGrant,
    VerifiedStep,
};
use operation::OperationError;
use tenancy::{Blueprint, OpContext, RequestInfo, keyring::Keyring};
use uuid::Uuid;
use vault::{RootKey, RootKeys};
use zeroize::Zeroizing;

use super::support::{PASSWORD, World, from, new_user, request};

/// A tenant whose limits no test meets, and a node that knows them.
pub(super) struct Bank {
    pub(super) world: World,
    pub(super) cli: OpContext,
    pub(super) node: Identity,
}

/// A person with an authenticator app.
pub(super) struct Holder {
    pub(super) id: Uuid,
    pub(super) name: &'static str,
    pub(super) secret: String,
    pub(super) backup_codes: Vec<String>,
}

impl Bank {
    /// Core-bank with so many verifications a minute.
    pub(super) async fn new(attempts_a_minute: u32) -> Self {
        Self::of(Blueprint::CoreBank, attempts_a_minute, "{}").await
    }

    pub(super) async fn of(
        blueprint: Blueprint,
        attempts_a_minute: u32,
        required_roles: &str,
    ) -> Self {
        let world = World::new().await;
        let cli = world.tenant("bank", blueprint).await;
        let change = format!(
            "UPDATE security_policies SET policy = jsonb_set(jsonb_set(policy, '{{rate_limits,mfa}}', \
             '{attempts_a_minute}'), '{{mfa,required_roles}}', to_jsonb('{required_roles}'::text[]))"
        );
        world.superuser().await.batch_execute(&change).await.unwrap();
        let node = world.another_node();
        Self { world, cli, node }
    }

    pub(super) async fn user(&self, name: &str, role: &str) -> Uuid {
        let mut user = new_user(name, role);
        user.phone = Some("+420601123456".to_owned());
        self.node.create_user(&self.cli, None, user).await.unwrap().output.id
    }

    /// Signed up, in, and enrolled.
    pub(super) async fn holder(&self, name: &'static str, role: &str) -> Holder {
        let id = self.user(name, role).await;
        let grant = self.sign_in(name).await.unwrap().into_tokens().unwrap();
        let context = self.context(&grant).await;
        let (secret, backup_codes) = self.enrol(&context).await;
        self.world.advance_s(90);
        Holder { id, name, secret, backup_codes }
    }

    pub(super) async fn sign_in(&self, name: &str) -> Result<SignIn, OperationError> {
        self.node.login(request("bank", name, PASSWORD), here()).await
    }

    /// The pending token of a sign-in.
    pub(super) async fn first_step(&self, name: &str) -> SecondFactorDue {
        match self.sign_in(name).await.unwrap() {
            SignIn::SecondFactor(due) => due,
            SignIn::Tokens(_) => panic!("{name} got in by password alone"),
        }
    }

    pub(super) async fn verify(
        &self,
        token: &str,
        method: Option<Method>,
        code: &str,
    ) -> Result<VerifiedStep, OperationError> {
        self.node.verify_factor(presented(token, method, code), here()).await
    }

    /// Both steps.
    pub(super) async fn signed_in(&self, holder: &Holder) -> (TokenGrant, OpContext) {
        let due = self.first_step(holder.name).await;
        let code = self.code(&holder.secret);
        let step = self.verify(&due.token, Some(Method::Totp), &code).await.unwrap();
        self.world.advance_s(90);
        let context = self.context(&step.tokens).await;
        (step.tokens, context)
    }

    pub(super) async fn context(&self, grant: &TokenGrant) -> OpContext {
        self.node.authenticate(&grant.access_token, here()).await.unwrap()
    }

    pub(super) async fn enrol(&self, context: &OpContext) -> (String, Vec<String>) {
        let request = SetupRequest { method: Method::Totp, name: None };
        let setup = self.node.setup_factor(context, request).await.unwrap();
        let secret = setup.app.unwrap().manual_key.to_string();
        let code = Zeroizing::new(self.code(&secret));
        let confirmed = self.node.confirm_factor(context, None, code).await.unwrap();
        (secret, confirmed.backup_codes.iter().map(|code| code.to_string()).collect())
    }

    /// What an app shows now.
    pub(super) fn code(&self, secret: &str) -> String {
        self.code_in(secret, 0)
    }

    /// What it shows so many steps from now.
    pub(super) fn code_in(&self, secret: &str, steps: i64) -> String {
        totp(secret, self.world.clock.now().as_second() / 30 + steps)
    }

    pub(super) async fn count(&self, sql: &str) -> i64 {
        self.world.scalar(sql).await
    }

    pub(super) async fn attempts(&self, outcome: &str) -> i64 {
        let sql = "SELECT count(*) FROM mfa_verification_attempts WHERE outcome = ";
        self.count(&format!("{sql}'{outcome}'")).await
    }

    /// The code in the newest message, opened as the worker opens it. Time goes on
    /// afterwards: messages of one moment have no order.
    pub(super) async fn sent_code(&self, user: Uuid) -> String {
        let superuser = self.world.superuser().await;
        let notice = "SELECT id, values_sealed FROM notices WHERE user_id = $1 AND template = 'sign_in_code' \
             ORDER BY id DESC LIMIT 1";
        let notice = superuser.query_one(notice, &[&user]).await.unwrap();
        let key = "SELECT key_id, kek_epoch, wrapped_key FROM subject_keys WHERE subject_id = $1";
        let key = superuser.query_one(key, &[&user]).await.unwrap();
        let keyring = Keyring::new(RootKeys::new(RootKey::from_bytes(&[7; 32]), None));
        let database = self.node.operations().database();
        let keys = keyring.tenant(database, &self.cli).await.unwrap();
        let subject = keys.open_subject_key(key.get(0), key.get(1), key.get(2)).unwrap();
        let cell = ("notices", "values_sealed", notice.get(0));
        let values = keys.open(&subject, cell, notice.get(1)).unwrap();
        let values: serde_json::Value = serde_json::from_str(&values).unwrap();
        self.world.advance_s(1);
        values["code"].as_str().unwrap().to_owned()
    }
}

pub(super) fn here() -> Arc<RequestInfo> {
    from("192.0.2.1", "tests")
}

pub(super) fn presented(token: &str, method: Option<Method>, code: &str) -> FactorPresented {
    FactorPresented {
        token: Zeroizing::new(token.to_owned()),
        method,
        code: Zeroizing::new(code.to_owned()),
    }
}

/// RFC 6238, written again for the tests.
pub(crate) fn totp(secret: &str, step: i64) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = secret.chars().fold(String::new(), |bits, letter| {
        bits + &format!("{:05b}", alphabet.find(letter).unwrap())
    });
    let key: Vec<u8> = (0..bits.len() / 8)
        .map(|byte| u8::from_str_radix(&bits[byte * 8..byte * 8 + 8], 2).unwrap())
        .collect();
    let mac = vault::hmac_sha1(&key, &step.to_be_bytes());
    let offset = usize::from(mac[19] & 15);
    let word: [u8; 4] = mac[offset..offset + 4].try_into().unwrap();
    format!("{:06}", (u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000)
}
