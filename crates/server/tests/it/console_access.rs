//! The access explainer in the console: what it says is what is decided, and it tells nobody
//! more than reading would.

use uuid::Uuid;

use crate::{
    console::Browser,
    harness::{Answered, App},
};

fn asked(person: Uuid, rest: &str) -> String {
    format!("/access?person={person}&{rest}")
}

fn decided(page: &Answered) -> Option<bool> {
    let has = |title: &str| page.text.contains(&format!("<h2 id=\"told-title\">{title}</h2>"));
    match (has("Allowed"), has("Not allowed")) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

#[tokio::test]
async fn an_administrator_sees_why_somebody_may_and_may_not() {
    let app = App::start().await;
    let bank = &app.bank;
    explain::remember_policies(&app.pool).await.unwrap();
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    let (officer, customer) = (bank.users["officer"], bank.users["customer"]);
    let person = admin.get(&app, &format!("/users/{officer}")).await;
    assert!(person.text.contains(&format!("href=\"/access?person={officer}\"")), "led there");
    let empty = admin.get(&app, &format!("/access?person={officer}")).await;
    assert_eq!((empty.status, decided(&empty)), (200, None), "{}", empty.text);
    assert!(empty.text.contains("What officer may do"), "{}", empty.text);
    let [own, foreign] = [0, 1].map(|number| bank.customers[number].accounts[0]);
    for (whose, rest, is_allowed, words) in [
        (officer, "action=account:read&kind=&id=", true, "every object"),
        (officer, "action=user:delete&kind=&id=", false, "One of the roles "),
        (customer, &*format!("action=account:read&kind=account&id={own}"), true, "their own"),
        (
            customer,
            &*format!("action=account:read&kind=account&id={foreign}"),
            false,
            "Another relation to the object: own.",
        ),
    ] {
        let page = admin.get(&app, &asked(whose, rest)).await;
        assert_eq!(page.status, 200, "{rest}: {}", page.text);
        assert_eq!(decided(&page), Some(is_allowed), "{rest}: {}", page.text);
        assert!(page.text.contains(words), "{rest}: {}", page.text);
    }
    let past = asked(officer, "action=account:read&kind=&id=&as_of=2020-02-29T12:00");
    let page = admin.get(&app, &past).await;
    assert_eq!((page.status, decided(&page)), (422, None), "{}", page.text);
    assert!(page.text.contains("were not there at that moment"), "{}", page.text);
    for (rest, words) in [
        ("action=account:steal", "Choose an action of the list."),
        ("action=account:read&kind=account", "Its id is missing."),
        (
            "action=user:read&kind=account&id=01890a5d-ac96-774b-bcce-b302099a8057",
            "objects of this kind",
        ),
        ("action=account:read&as_of=2999-01-01T00:00", "yet to come"),
    ] {
        let page = admin.get(&app, &asked(officer, rest)).await;
        assert_eq!((page.status, decided(&page)), (422, None), "{rest}: {}", page.text);
        assert!(page.text.contains(words), "{rest}: {}", page.text);
    }
}

#[tokio::test]
async fn people_see_their_own_and_nobody_elses() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let bank = &app.bank;
    let mut customer = Browser::signed_in(&app, "bank", "customer").await;
    let mine = customer.get(&app, "/access?action=account:read&kind=&id=").await;
    assert_eq!((mine.status, decided(&mine)), (200, Some(false)), "{}", mine.text);
    assert!(mine.text.contains("What you may do"), "{}", mine.text);
    for id in [bank.users["officer"], rival.users["officer"], Uuid::from_u128(1)] {
        let page = customer.get(&app, &asked(id, "action=account:read")).await;
        assert_eq!((page.status, decided(&page)), (404, None), "{}", page.text);
    }
    let foreign =
        [bank.customers[1].accounts[0], rival.customers[0].accounts[0], Uuid::from_u128(1)];
    for account in foreign {
        let rest = format!("/access?action=account:read&kind=account&id={account}");
        let page = customer.get(&app, &rest).await;
        assert_eq!((page.status, decided(&page)), (422, None), "{}", page.text);
        assert!(page.text.contains("not yours to see"), "{}", page.text);
    }
    // Whoever is kept out is led here; whoever's form is stale is not.
    let kept_out = customer.get(&app, "/audit").await;
    assert_eq!(kept_out.status, 403, "{}", kept_out.text);
    assert!(kept_out.text.contains("href=\"/access\""), "{}", kept_out.text);
    let nowhere = customer.get(&app, "/nothing/here").await;
    assert!(!nowhere.text.contains("href=\"/access\""), "{}", nowhere.text);
}
