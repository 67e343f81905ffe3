//! Tests of the real program: memory that is offered to others, and taken under terms.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;

use std::fs;

use serde_json::{Value, json};

use program::House;

const OPS: [&str; 4] = ["--space", "acme/ops", "--as", "user:ada"];

/// A house in which `user:ada` remembers how things are deployed, and the memory's id.
fn with_runbook() -> (House, String) {
    let house = House::new();
    let id = house.remember("We deploy on Tuesdays", &OPS);
    (house, id)
}

/// Offers a memory and returns the offer.
fn publish(house: &House, id: &str, more: &[&str]) -> Value {
    let offered = ["publish", id, "--name", "deploying services to production", "--tag", "ops"];
    house.json(&[&offered[..], &OPS[..], more].concat())["offer"].clone()
}

fn take(house: &House, offer: &str, who: &str, more: &[&str]) -> Value {
    let take = ["take", offer, "--space", "acme/ops", "--into", "acme/desk", "--as", who];
    house.json(&[&take[..], more].concat())["taken"].clone()
}

#[test]
fn an_offer_is_found_taken_and_taken_back() {
    let (house, id) = with_runbook();
    let offer = publish(&house, &id, &["--to", "user:bo", "--uses", "1", "--for", "90d"]);
    let offer = offer["id"].as_str().unwrap();
    let as_bo = ["--space", "acme/ops", "--as", "user:bo"];
    let listed = house.json(&[&["offers"], &as_bo[..]].concat());
    assert_eq!((&listed["offers"][0]["id"], &listed["offers"][0]["left"]), (&json!(offer), &json!(1)));
    assert!(listed["offers"][0].get("cubes").is_none() && listed["offers"][0].get("takers").is_none());
    assert!(house.done(&[&["offers"], &as_bo[..]].concat()).contains("deploying"));
    assert_eq!(house.run(&["offers", "--space", "acme/ops", "--as", "user:eve"]).status.code(), Some(3));

    let taken = take(&house, offer, "user:bo", &["--request", "first"]);
    assert_eq!((&taken["new"], &taken["again"]), (&json!(1), &json!(false)));
    assert_eq!(take(&house, &offer[24..], "user:bo", &["--request", "first"])["again"], true);
    let copy = taken["copies"][0].as_str().unwrap();
    let shown = |state: &str| {
        let shown = house.json(&["show", copy, "--space", "acme/desk", "--as", "user:bo"]);
        assert_eq!(
            (&shown["text"], &shown["header"]["lifecycle"]["state"]),
            (&json!("We deploy on Tuesdays"), &json!(state)),
            "{shown}"
        );
    };
    shown("generated");
    for (who, code) in [("user:bo", 1), ("user:eve", 3)] {
        let again = ["take", offer, "--space", "acme/ops", "--into", "acme/other", "--as", who];
        house.fails(&again, code);
    }
    house.fails(&["revoke", offer, "--reason", "mine", "--space", "acme/ops", "--as", "user:eve"], 3);
    let revoked = house.json(&[&["revoke", offer, "--reason", "it is wrong"], &OPS[..]].concat());
    assert_eq!((&revoked["withdrawn"], &revoked["elsewhere"]), (&json!(1), &json!(0)));
    shown("expired");
}

#[test]
fn who_waits_for_offers_finds_them() {
    let (house, id) = with_runbook();
    let as_bo = ["--space", "acme/ops", "--as", "user:bo"];
    let subscribe = |more: &[&str]| house.json(&[&["subscribe"], more, &as_bo[..]].concat())["subscription"].clone();
    subscribe(&["--meaning", "how do we deploy services"]);
    let tagged = subscribe(&["--tag", "cooking"])["id"].as_str().unwrap().to_owned();
    publish(&house, &id, &["--to-everybody"]);
    let matching = house.json(&[&["offers", "--matching"], &as_bo[..]].concat());
    assert_eq!(matching["subscriptions"].as_array().unwrap().len(), 2);
    assert!(matching["offers"][0]["fits"]["meaning"].as_f64().unwrap() > 0.3, "{matching}");
    house.done(&[&["unsubscribe", &tagged[24..]], &as_bo[..]].concat());
    house.fails(&[&["unsubscribe", &tagged], &as_bo[..]].concat(), 3);
    house.fails(&["subscribe"], 2);
    house.fails(&["subscribe", "--meaning", "x", "--nearness", "7", "--space", "acme/ops"], 2);
}

#[test]
fn a_bundle_goes_to_another_organisation_and_is_taken_back_by_a_notice() {
    let (here, id) = with_runbook();
    let there = House::new();
    there.remember("Something of their own", &["--space", "other/desk", "--as", "user:bo"]);
    let key = there.json(&["head", "--space", "other/desk"])["key"].as_str().unwrap().to_owned();
    let from = here.json(&["head", "--space", "acme/ops"])["key"].as_str().unwrap().to_owned();
    let offer = publish(&here, &id, &["--to", "user:bo"]);
    let offer = offer["id"].as_str().unwrap();
    let bundle = ["take", offer, "--bundle", "out.mip", "--receiver", "user:bo", "--receiver-key", &key];
    let written = here.json(&[&bundle[..], &OPS[..]].concat());
    assert_eq!((&written["offer"], &written["to"]), (&json!(offer), &json!("user:bo")));
    fs::copy(here.path("out.mip"), there.path("in.mip")).unwrap();
    let desk = ["--space", "other/desk", "--as", "user:bo"];
    assert!(there.fails(&[&["import", "in.mip"], &desk[..]].concat(), 1).contains("memos take FILE"));
    let signed = ["take", "in.mip", "--signed-by", &from];
    let taken = there.json(&[&signed[..], &desk[..]].concat())["taken"].clone();
    assert_eq!((&taken["new"], &taken["from"]), (&json!(1), &json!("acme/ops")));
    assert_eq!(there.json(&[&signed[..], &desk[..]].concat())["taken"]["again"], true);
    there.fails(&["take", "in.mip", "--space", "other/desk", "--as", "user:eve"], 1);
    there.fails(&[&["take", "in.mip", "--signed-by", &key], &desk[..]].concat(), 2);

    let revoke = ["revoke", offer, "--reason", "it is wrong", "--notice", "notice.mip"];
    assert_eq!(here.json(&[&revoke[..], &OPS[..]].concat())["elsewhere"], 1);
    fs::copy(here.path("notice.mip"), there.path("notice.mip")).unwrap();
    let heeded = there.json(&[&["take", "notice.mip"], &desk[..]].concat());
    assert_eq!(heeded["notice"]["withdrawn"], 1, "{heeded}");
    let copy = taken["copies"][0].as_str().unwrap();
    assert_eq!(there.json(&[&["show", copy], &desk[..]].concat())["header"]["lifecycle"]["state"], "expired");
}

#[test]
fn what_is_wrong_is_refused_before_anything_is_made() {
    let (house, id) = with_runbook();
    let name = ["--name", "x"];
    for arguments in [
        &["publish", id.as_str(), "--to-everybody"][..],
        &[&["publish", id.as_str()], &name[..]].concat(),
        &[&["publish", "--to-everybody"], &name[..]].concat(),
        &[&["publish", id.as_str(), "--to-everybody", "--uses", "0"], &name[..]].concat(),
        &[&["publish", id.as_str(), "--to-everybody", "--for", "soon"], &name[..]].concat(),
        &["take", "x"],
        &["take", "no.mip.there"],
        &["revoke", "ffffffff"],
    ] {
        house.fails(&[arguments, &OPS[..]].concat(), 2);
    }
    house.fails(&["publish", &id, "--to-everybody", "--name", "x", "--space", "acme/ops", "--as", "user:eve"], 3);
    house.fails(&["offers", "--space", "acme/nowhere"], 3);
    assert!(!fs::exists(house.path("data/acme/nowhere")).unwrap());
}
