//! Tests of the real program: what is erased, verified, proven and sealed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;

use std::fs;
use std::path::Path;

use serde_json::Value;

use program::House;

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn verified(house: &House) -> Value {
    house.json(&["verify", "--all"])["spaces"].clone()
}

/// Runs what fails with a master key from the environment, and returns what it said.
fn fails_with_key(house: &House, key: &str, arguments: &[&str], code: i32) -> String {
    let output = house.command(arguments).env("MEMOS_KEY", key).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

#[test]
fn what_is_erased_is_nowhere() {
    let house = House::new();
    let walnuts = house.remember("Bo may not eat walnuts", &["--title", "walnut rule", "--tag", "walnut-tag"]);
    let bread = house.remember("The bread is on the shelf", &[]);
    house.done(&["link", &walnuts, "about", &bread]);
    let before = format!("#{}", house.json(&["stats"])["spaces"][0]["ledger"]["events"]);

    assert!(house.fails(&["erase", &walnuts, "--reason", "asked to"], 2).contains("--yes"));
    assert!(house.done(&["show", &walnuts]).contains("walnuts"), "nothing was erased without being asked for");
    house.fails(&["erase", &walnuts, "--reason", "x", "--yes", "--as", "user:eve"], 3);
    let erased = house.json(&["erase", &walnuts, "--reason", "asked to", "--yes"]);
    assert_eq!((&erased["erased"], &erased["space_erased"]), (&serde_json::json!([walnuts]), &false.into()));
    for word in ["walnut", "walnut rule", "walnut-tag"] {
        assert_eq!(house.files_with(word), [""; 0]);
    }
    for arguments in [
        &["show", &walnuts][..],
        &["show", &walnuts, "--as-of", &before],
        &["history", &walnuts],
        &["diff", &walnuts],
        &["erase", &walnuts, "--reason", "again", "--yes"],
        &["recall", "walnuts", "--as-of", &before, "--tag", "walnut-tag"],
    ] {
        let output = house.run(arguments);
        assert!(matches!(output.status.code(), Some(2 | 3)), "{arguments:?}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("eat walnuts"), "{arguments:?}");
    }
    let spaces = verified(&house);
    assert_eq!((&spaces[0]["verified"]["erased"], &spaces[0]["error"]), (&1.into(), &Value::Null));
}

#[test]
fn what_was_made_from_it_is_named_or_goes_too() {
    let erased = |more: &[&str]| {
        let house = House::new();
        let note = house.remember("Bo was born in Cardiff", &[]);
        let summary = house.remember("Bo is Welsh", &["--type", "summary"]);
        house.done(&["link", &summary, "derived-from", &note]);
        let all = [&["erase", &note, "--reason", "x", "--yes"], more].concat();
        let text = house.done(&all);
        (text, house.run(&["show", &summary]).status.success())
    };
    let (text, still_there) = erased(&[]);
    assert!(still_there && text.contains("Bo is Welsh") && text.contains("--derived"), "{text}");
    let (text, still_there) = erased(&["--derived"]);
    assert!(!still_there && text.contains("erased 2 memories"), "{text}");
}

#[test]
fn a_person_and_a_space_are_erased() {
    let house = House::with_talk();
    let erased = house.json(&["erase", "--subject", "Bo", "--reason", "he left", "--yes", "--as", "user:ada"]);
    assert!(list(&erased["erased"]).len() >= 2, "{erased}");
    assert_eq!(house.files_with("peanuts"), [""; 0]);
    assert!(
        house.fails(&["erase", "--subject", "Bo", "--reason", "x", "--yes", "--as", "user:ada"], 3).contains("`Bo`")
    );
    assert!(
        house.recall("Where does Ada live?").iter().any(|receipt| receipt["text"].as_str().unwrap().contains("Porto"))
    );

    house.remember("Only here", &["--space", "home/attic"]);
    house.fails(&["erase", "--all-of-space", "--space", "home/attic"], 2);
    house.fails(&["erase", "--all-of-space", "--space", "home/attic", "--yes", "--as", "user:eve"], 1);
    house.fails(&["erase", "--all-of-space", "--space", "home/nowhere", "--yes"], 3);
    assert_eq!(house.json(&["erase", "--all-of-space", "--space", "home/attic", "--yes"])["space_erased"], true);
    assert!(!Path::new(&house.data()).join("home/attic").exists());
    assert_eq!(list(&house.json(&["spaces"])["spaces"]).len(), 1);
}

#[test]
fn damage_is_found_and_named() {
    let house = House::with_talk();
    house.remember("In the attic", &["--space", "home/attic"]);
    let spaces = verified(&house);
    let names: Vec<&str> = list(&spaces).iter().map(|space| space["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["home/attic", "home/main"]);
    let main = &spaces[1]["verified"];
    assert!(main["events"].as_u64().unwrap() > 5 && main["root"].as_str().unwrap().len() == 64, "{main}");
    let text = house.done(&["verify"]);
    assert!(text.contains("home/main is whole") && text.contains("events/s"), "{text}");
    house.fails(&["verify", "--space", "home/nowhere"], 3);

    let ledger = Path::new(&house.data()).join("home/main/ledger.redb");
    let mut bytes = fs::read(&ledger).unwrap();
    // One byte in every quarter of a page behind the first, so that some of it is in use.
    bytes.iter_mut().skip(4096 + 300).step_by(1024).for_each(|byte| *byte ^= 0x55);
    fs::write(&ledger, bytes).unwrap();
    let output = house.run(&["verify", "--all", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let spaces: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&spaces["spaces"][0]["error"], &spaces["spaces"][1]["verified"]), (&Value::Null, &Value::Null));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "corrupt", "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("home/main"), "{error}");
    assert!(house.fails(&["verify"], 1).contains("home/main"));
}

#[test]
fn a_proof_holds_without_the_data_and_a_changed_one_does_not() {
    let house = House::new();
    house.remember("The first of all", &[]);
    let head = house.json(&["head", "--out", &house.path("head.json")]);
    let kept: Value = serde_json::from_str(&fs::read_to_string(house.path("head.json")).unwrap()).unwrap();
    assert_eq!(kept["key"], head["key"]);
    let key = head["key"].as_str().unwrap();
    let note = house.remember("The will is in the bank", &[]);
    house.done(&["share", &note, "--layer", "global"]);
    let made =
        house.json(&["prove", &note, "--version", "1", "--reveal", "--since", "head.json", "--out", "will.proof"]);
    assert_eq!((&made["cube"], &made["revealed"]), (&note.as_str().into(), &true.into()));
    house.done(&["prove", &note, "--out", "closed.proof"]);

    // From here on the data is not looked at.
    fs::remove_dir_all(house.data()).unwrap();
    let checked = house.json(&["check-proof", "will.proof", "--key", key, "--head", "head.json"]);
    assert_eq!((&checked["holds"], &checked["signer_known"]), (&true.into(), &true.into()));
    assert_eq!((&checked["cube"], &checked["version"]), (&note.as_str().into(), &1.into()));
    assert_eq!(
        (&checked["opened"]["text"], &checked["principal"]),
        (&"The will is in the bank".into(), &"user:tester".into())
    );
    assert_eq!(checked["goes_on_from"]["events"], kept["events"]);
    let text = house.done(&["check-proof", "will.proof"]);
    assert!(text.contains("the proof holds") && text.contains("The will is in the bank"), "{text}");
    assert!(text.contains("only that somebody signed"), "{text}");
    assert!(!house.done(&["check-proof", "will.proof", "--key", key]).contains("somebody"));
    let closed = house.json(&["check-proof", "closed.proof", "--key", key]);
    assert_eq!((&closed["opened"], &closed["version"]), (&Value::Null, &2.into()));
    assert!(!fs::read_to_string(house.path("closed.proof")).unwrap().contains("opening"));

    let other = if key.starts_with('0') { key.replacen('0', "1", 1) } else { format!("0{}", &key[1..]) };
    assert!(house.fails(&["check-proof", "will.proof", "--key", &other], 2).contains("not by"));
    house.fails(&["check-proof", "closed.proof", "--head", "head.json"], 2);
    let proof: Value = serde_json::from_str(&fs::read_to_string(house.path("will.proof")).unwrap()).unwrap();
    for (field, value) in [
        (&["index"][..], 1.into()),
        (&["head", "events"], 9.into()),
        (&["head", "space"], "home/other".into()),
        (&["event"], "AAAA".into()),
        (&["opening", "key"], "00".repeat(32).into()),
        (&["older", "head", "events"], 1.into()),
        (&["format"], 2.into()),
        (&["more"], 1.into()),
    ] {
        let mut changed = proof.clone();
        let place = field.iter().fold(&mut changed, |value, name| &mut value[*name]);
        assert_ne!(*place, value);
        *place = value;
        fs::write(house.path("changed.proof"), changed.to_string()).unwrap();
        let said = house.fails(&["check-proof", "changed.proof", "--json"], 2);
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["error"]["kind"], "invalid", "{field:?}: {said}");
    }
    assert!(!Path::new(&house.data()).exists(), "checking makes nothing");
}

#[test]
fn keys_are_made_changed_and_never_shown() {
    let house = House::new();
    let mut said = String::new();
    let mut run = |arguments: &[&str]| -> String {
        let output = house.done(arguments);
        said.push_str(&output);
        output
    };
    let made: Value = serde_json::from_str(&run(&["keys", "new", "first.key", "--json"])).unwrap();
    run(&["keys", "new", "second.key"]);
    let read = |name: &str| fs::read_to_string(house.path(name)).unwrap().trim().to_owned();
    let (first, second) = (read("first.key"), read("second.key"));
    assert_eq!((first.len(), second.len()), (64, 64));
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(house.path("first.key")).unwrap().permissions()) & 0o777,
        0o600
    );
    let refused = house.fails(&["keys", "new", "first.key"], 2);
    assert!(refused.contains("not overwritten") && read("first.key") == first);

    run(&["remember", "The cat is called Ludo", "--key-file", "first.key"]);
    run(&["fork", "home/try", "--key-file", "first.key"]);
    assert!(!Path::new(&house.data()).join("master.key").exists(), "a key that is given is not kept beside the data");
    let listed: Value = serde_json::from_str(&run(&["keys", "--json", "--key-file", "first.key"])).unwrap();
    assert_eq!((&listed["key"]["id"], &listed["key"]["from"]), (&made["id"], &"file".into()));
    assert_eq!((&listed["spaces"][0]["sealed_by"], &listed["spaces"][0]["opens"]), (&made["id"], &true.into()));

    let wrong = house.fails(&["recall", "cat", "--key-file", "second.key"], 1);
    assert!(wrong.contains("sealed with master key") && wrong.contains("--key-file"), "{wrong}");
    let missing = house.fails(&["recall", "cat"], 1);
    assert!(missing.contains("master.key"), "{missing}");
    let garbled = fails_with_key(&house, "sesame", &["recall", "cat"], 2);
    assert!(garbled.contains("MEMOS_KEY") && !garbled.contains("sesame"), "{garbled}");
    house.fails(&["recall", "cat", "--key-file", ""], 2);

    let rotated = run(&["keys", "rotate", "--new-key-file", "second.key", "--key-file", "first.key", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&rotated).unwrap()["spaces"],
        serde_json::json!(["home/main", "home/try"])
    );
    for space in ["home/main", "home/try"] {
        run(&["recall", "cat", "--key-file", "second.key", "--space", space]);
        house.fails(&["recall", "cat", "--key-file", "first.key", "--space", space], 1);
    }
    let again = ["keys", "rotate", "--new-key-file", "second.key", "--key-file", "second.key"];
    assert!(house.fails(&again, 2).contains("the one in use"));
    fails_with_key(&house, &first, &["recall", "cat"], 1);
    let output = house.command(&["verify", "--all"]).env("MEMOS_KEY", &second).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for key in [&first, &second] {
        assert!(!said.contains(key.as_str()) && !wrong.contains(key.as_str()) && !missing.contains(key.as_str()));
        assert_eq!(house.files_with(key), [""; 0]);
    }
}

#[test]
fn the_folders_own_key_is_changed_in_its_place() {
    let house = House::new();
    house.remember("The cat is called Ludo", &[]);
    let before = house.json(&["keys"]);
    assert_eq!(before["key"]["from"], "folder");
    house.done(&["keys", "new", "new.key"]);
    let rotated = house.json(&["keys", "rotate", "--new-key-file", "new.key"]);
    assert_eq!(rotated["from"], before["key"]["id"]);
    assert_eq!(house.json(&["keys"])["spaces"][0]["sealed_by"], rotated["to"]);
    assert!(house.done(&["recall", "cat"]).contains("Ludo"));
}
