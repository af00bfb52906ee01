//! What one look at the schedule hands out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pcsid_watch::clock::Clock;
use pcsid_watch::domain::activity::{Registration, Vat};
use pcsid_watch::domain::serving::Serving;
use pcsid_watch::domain::time::Timestamp;
use pcsid_watch::domain::turns::Wanted;
use pcsid_watch::store::{Address, Duties, Store};

use crate::helpers::{OTHER_VAT, Setup, VAT};

#[tokio::test]
async fn few_vats_are_looked_through_by_age_however_much_is_claimed() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let address = Address::parse(&setup.database_url(), None, None).unwrap();
    let store = Store::open(&address, Vec::new()).await.unwrap();
    let none: &[Vat] = &[];
    let serving = Serving::new([("main", none)]);
    let mut now = Timestamp::from_millis(1_780_000_000_000);
    for vat in [VAT, OTHER_VAT] {
        let many = (0..600).map(|n| Registration::parse(vat, &format!("act-{n}"), None, None).unwrap());
        let many: Vec<_> = many.collect();
        let interval = Duration::from_secs(1);
        store.intake().register(&many, "http://127.0.0.1:9", &serving, interval, now).await.unwrap();
        now = now + Duration::from_secs(1);
    }
    let duties = Duties { credentials: vec!["main".to_owned()], sinks: Vec::new() };
    let member = store.join(&duties, &Arc::new(Clock::default())).await.unwrap();
    let polls = member.work().polls(&duties.credentials, true);
    let wanted = Wanted {
        credential: "main".into(),
        n_longest_due: 200,
        n_in_turn: 0,
        after: 0,
        passing: Vec::new(),
        n_probes: 0,
        held_vats: Vec::new(),
    };
    let mut keys = HashSet::new();
    // The older VAT first, all of it, and then the other one.
    for vat in [VAT; 3].into_iter().chain([OTHER_VAT; 3]) {
        let found = polls.look(std::slice::from_ref(&wanted), now).await.unwrap().remove(0).longest_due;
        assert_eq!(found.len(), 200, "with {} claimed", polls.n_claimed());
        for claimed in found {
            assert_eq!(claimed.activity.vat.as_str(), vat);
            assert!(polls.claim(&claimed) && keys.insert(claimed.key));
        }
    }
    let rest = polls.look(&[wanted], now).await.unwrap().remove(0).longest_due;
    assert!(rest.is_empty(), "all 1,200 are claimed");
}
