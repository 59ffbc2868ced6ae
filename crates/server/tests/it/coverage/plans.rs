//! How each route of the document is called: with which ids, body and query.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Objects, Route, client_key_wish, fresh_key, policy_patch, role_wish, webhook};
use crate::harness::PASSWORD;

/// The id in the path, the body, the query.
pub(super) type Plan = (Option<Uuid>, Option<Value>, &'static str);

/// How a route is called. A route that is not listed has not been considered.
pub(super) fn plan(route: &Route, objects: &Objects) -> Plan {
    let user_name = format!("u{}", fresh_key());
    match route.id.as_str() {
        "listUsers"
        | "listCustomers"
        | "listAccounts"
        | "listAuditEvents"
        | "listAuditCheckpoints"
        | "listPasskeys"
        | "listSessions"
        | "readMe"
        | "listReferrals"
        | "readSettings"
        | "readOpenApi"
        | "readJwks"
        | "readOpenIdConfiguration" => (None, None, ""),
        "login" => (
            None,
            Some(json!({ "tenant": objects.slug, "username": "nobody", "password": "x" })),
            "",
        ),
        "beginPasskeySignIn" => (None, Some(json!({ "tenant": objects.slug })), ""),
        "signInByPasskey" | "registerPasskey" => {
            (None, Some(crate::passkeys::nobodys_answer(&route.id)), "")
        }
        "renamePasskey" => (Some(objects.passkey), Some(json!({ "name": "Key" })), ""),
        "removePasskey" => (Some(objects.passkey), None, ""),
        "refresh" => (None, Some(json!({ "refresh_token": "nonsense" })), ""),
        "logout" | "signOutEverywhere" | "beginPasskey" => (None, Some(json!({})), ""),
        "readPasswordPolicy" => (None, None, "?tenant=bank"),
        "endSession" => (Some(objects.session), None, ""),
        "createUser" => (None, Some(json!({ "username": user_name, "role": "customer" })), ""),
        "exportAuditEvents" => (None, None, "?format=jsonl"),
        "readUser" | "deleteUser" | "listUserSessions" => (Some(objects.user), None, ""),
        "restoreUser" | "unlockUser" | "endUserSessions" => {
            (Some(objects.user), Some(json!({})), "")
        }
        "listActivity" | "listDevices" | "listFactorResets" | "listPolicyChanges" => {
            (None, None, "")
        }
        "renameDevice" => (Some(objects.device), Some(json!({ "name": "Laptop" })), ""),
        "revokeDevice" => (Some(objects.device), None, ""),
        "requestPolicyChange" => (None, Some(policy_patch()), ""),
        "readPolicyChange" => (Some(objects.policy_change), None, ""),
        "approvePolicyChange" | "rejectPolicyChange" => {
            (Some(objects.policy_change), Some(json!({ "note": "Seen" })), "")
        }
        "lockUser" => (Some(objects.user), Some(json!({ "reason": "compliance" })), ""),
        "changeUser" => (Some(objects.user), Some(json!({ "full_name": "Jana Nováková" })), ""),
        "createCustomer" => {
            (None, Some(json!({ "customer_type": "business", "company_name": "Pekárna" })), "")
        }
        "readCustomer" => (Some(objects.customer), None, ""),
        "changeCustomer" => (Some(objects.customer), Some(json!({ "phone": "+420601123456" })), ""),
        "openAccount" => {
            (None, Some(json!({ "customer_id": objects.customer, "currency": "EUR" })), "")
        }
        // Closing: its balance is not zero, and who may close it is told so.
        "readAccount" | "listTransactions" | "readBalance" | "closeAccount" => {
            (Some(objects.account), None, "")
        }
        "changeAccount" => (Some(objects.account), Some(json!({ "overdraft_limit": 0 })), ""),
        "deposit" | "withdraw" | "chargeFee" => {
            (Some(objects.account), Some(json!({ "amount": 1 })), "")
        }
        "readAuditEvent" | "proveAuditEvent" => (Some(objects.event), None, ""),
        "proveAuditConsistency" => (None, None, "?from=1&to=1"),
        _ => key_plan(route, objects)
            .or_else(|| factor_plan(route, objects))
            .or_else(|| recovery_plan(route, objects))
            .unwrap_or_else(|| money_plan(route, objects)),
    }
}

/// The same for keys, the tenant's own and those of machines.
fn key_plan(route: &Route, objects: &Objects) -> Option<Plan> {
    Some(match route.id.as_str() {
        "explainAccess" => {
            let account = json!({ "type": "account", "id": objects.account });
            (None, Some(json!({ "action": "account:read", "resource": account })), "")
        }
        "readSuperCheckpoint"
        | "listEvents"
        | "listSigningKeys"
        | "listApiKeys"
        | "listDataKeys"
        | "readKeyInventory"
        | "listRoles"
        | "listWebhooks"
        | "listClientKeys" => (None, None, ""),
        "registerClientKey" => (None, Some(client_key_wish()), ""),
        "readClientKey" | "revokeClientKey" => (Some(objects.client_key), None, ""),
        "rotateSigningKey" | "rewrapDataKeys" => (None, Some(json!({})), ""),
        "rotateDataKey" => (None, Some(json!({ "purpose": "field_data" })), ""),
        // The one that seals: who may destroy it is told that it is not retired.
        "destroyDataKey" => (None, Some(json!({ "purpose": "field_kek", "epoch": 1 })), ""),
        "revokeSigningKey" => (Some(objects.signing_key), Some(json!({})), ""),
        "introspectToken" => (None, Some(json!({ "token": "nonsense" })), ""),
        "createWebhook" => (None, Some(webhook()), ""),
        "readWebhook" | "deleteWebhook" | "testWebhook" | "listWebhookDeliveries" => {
            (Some(objects.webhook), None, "")
        }
        "changeWebhook" => (Some(objects.webhook), Some(json!({ "status": "active" })), ""),
        "rotateWebhookSecret" => (Some(objects.webhook), Some(json!({ "overlap_s": 0 })), ""),
        "replayWebhook" => (Some(objects.webhook), Some(json!({ "from_position": 1 })), ""),
        "createApiKey" => (None, Some(json!({ "name": "Payroll", "role": "customer" })), ""),
        "createRole" => (None, Some(role_wish()), ""),
        "readRole" | "deleteRole" => (Some(objects.role), None, ""),
        "changeRole" => {
            let permissions = json!([{ "permission": "customer:read" }]);
            (Some(objects.role), Some(json!({ "permissions": permissions })), "")
        }
        "readApiKey" | "revokeApiKey" => (Some(objects.api_key), None, ""),
        "rotateApiKey" => (Some(objects.api_key), Some(json!({ "overlap_s": 0 })), ""),
        _ => return None,
    })
}

/// The same for second factors. Nobody here has one: `identity::factors` and
/// `second_factors` hold what those who do may do.
fn factor_plan(route: &Route, objects: &Objects) -> Option<Plan> {
    let pending =
        "mfa_00000000000000000000000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    Some(match route.id.as_str() {
        "listFactors" => (None, None, ""),
        "sendSecondFactorCode" | "enrolRequiredFactor" => {
            (None, Some(json!({ "mfa_token": pending, "method": "totp" })), "")
        }
        "verifySecondFactor" | "confirmRequiredFactor" => {
            (None, Some(json!({ "mfa_token": pending, "code": "123456" })), "")
        }
        "setUpFactor" => (None, Some(json!({ "method": "totp" })), ""),
        "confirmFactor" => (None, Some(json!({ "method": "email", "code": "123456" })), ""),
        "stepUp" => (None, Some(json!({ "code": "123456" })), ""),
        "sendStepUpCode" => (None, Some(json!({ "method": "sms" })), ""),
        "regenerateBackupCodes" => (None, Some(json!({})), ""),
        // Nobody's factor.
        "renameFactor" => (Some(objects.session), Some(json!({ "name": "Phone" })), ""),
        "removeFactor" => (Some(objects.session), None, ""),
        "requestFactorReset" | "rejectFactorReset" | "sendResetLink" => {
            (Some(objects.user), None, "")
        }
        // A request that does not wait.
        "confirmFactorReset" => {
            (Some(objects.user), Some(json!({ "request_id": objects.session })), "")
        }
        _ => return None,
    })
}

/// The same for passwords, links and addresses.
fn recovery_plan(route: &Route, objects: &Objects) -> Option<Plan> {
    let body = match route.id.as_str() {
        "forgotPassword" => json!({ "tenant": objects.slug, "username": "nobody" }),
        "register" => json!({
            "tenant": objects.slug, "username": "newcomer", "email": "newcomer@home.example",
        }),
        "resetPassword" | "acceptInvitation" => {
            json!({ "token": "nonsense", "new_password": "Quite-New-77-Battery" })
        }
        "verifyEmail" => json!({ "token": "nonsense" }),
        "tryPassword" => json!({ "tenant": objects.slug, "password": "x" }),
        // Everybody goes on with the password that they have.
        "changePassword" => {
            json!({ "current_password": "wrong", "new_password": "Quite-New-77-Battery" })
        }
        "changeEmail" => json!({ "email": "moved@home.example", "current_password": PASSWORD }),
        "changePhone" => json!({ "phone": "+420601123456", "current_password": PASSWORD }),
        "proveEmail" => json!({}),
        "verifyPhone" => {
            let token = format!("phonechange_{}_{}", Uuid::nil().simple(), "A".repeat(43));
            json!({ "phone_token": token, "code": "123456" })
        }
        "createInvitation" => json!({ "user_id": objects.user }),
        _ => return None,
    };
    Some((None, Some(body), ""))
}

/// The same for the routes that move money.
fn money_plan(route: &Route, objects: &Objects) -> Plan {
    match route.id.as_str() {
        "createTransferBatch" => {
            let order = json!({
                "idempotency_key": fresh_key(), "from_account_id": objects.account,
                "to_account_id": objects.other_account, "amount": 1, "currency": "EUR",
            });
            (None, Some(json!({ "transfers": [order] })), "")
        }
        "createPosting" => {
            let entries = json!([
                { "account_id": objects.account, "amount": -1 }, { "internal_account": "suspense", "amount": 1 },
            ]);
            (None, Some(json!({ "currency": "EUR", "entries": entries })), "")
        }
        "readPosting" | "readTransfer" => (Some(objects.transfer), None, ""),
        "reverseTransaction" => (Some(objects.entry), Some(json!({})), ""),
        "createHold" => {
            let order = json!({
                "account_id": objects.account, "to_account_id": objects.other_account, "amount": 1,
            });
            (None, Some(order), "")
        }
        "listHolds" | "listApprovals" => (None, None, ""),
        "readApproval" => (Some(objects.approval), None, ""),
        "decideApprovals" => {
            let one = json!({ "id": objects.approval, "idempotency_key": fresh_key() });
            let body = json!({ "decision": "approve", "note": "Seen", "approvals": [one] });
            (None, Some(body), "")
        }
        "approve" | "reject" => (Some(objects.approval), Some(json!({ "note": "Seen" })), ""),
        "readHold" => (Some(objects.hold), None, ""),
        "captureHold" => (Some(objects.hold), Some(json!({ "amount": 1, "final": false })), ""),
        "releaseHold" => (Some(objects.hold), Some(json!({})), ""),
        "createTransfer" => {
            let order = json!({
                "from_account_id": objects.account, "to_account_id": objects.other_account,
                "amount": 1, "currency": "EUR",
            });
            (None, Some(order), "")
        }
        other => panic!(
            "{other} is a new route: say here how it is called, and look at every test of this file"
        ),
    }
}
