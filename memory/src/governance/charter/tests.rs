//! What a charter promises: it says what it is refused for, decides as its policies say, and denies whatever cannot be
//! decided.

use proptest::prelude::*;

use super::decisions::Decisions;
use super::*;
use crate::cube::{Grant, Grantee, Layer, Rights};
use crate::governance::{Access, AccessClass, CUSTODIAN, Decision, LayerPolicy, Operation, Policy, SENSITIVE_READER};
use crate::time::Timestamp;

use Access::{Denied, Full, Redacted};
use Operation::{Erase, Read, Release, Share, Unfreeze, Write};

const OPERATIONS: [Operation; 6] = [Read, Write, Share, Erase, Unfreeze, Release];

fn rules(text: &str) -> Rules {
    Charter::parse(text).and_then(Charter::rules).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Makes rules of policies alone.
fn policies(base: &str, text: &str) -> Rules {
    rules(&format!("[policies]\nbase = \"{base}\"\ntext = '''\n{text}\n'''"))
}

fn refusal(text: &str) -> String {
    Charter::parse(text).and_then(Charter::rules).expect_err(text).to_string()
}

fn who(name: &str) -> Principal {
    Principal::new(name.parse().unwrap())
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn class(owner: &str, layer: &str) -> AccessClass {
    let (owner, layer) = (owner.parse().unwrap(), layer.parse().unwrap());
    AccessClass { layer, owner, grants: Vec::new(), sensitive: false, concealed: false }
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-03-01T12:00:00Z")
}

/// Decides all operations on a class, by a charter's policies and without a base.
fn check_each(text: &str, principal: &Principal, class: &AccessClass, allowed: &[Operation]) {
    let rules = policies("none", text);
    for operation in OPERATIONS {
        let decision = rules.decide(principal, operation, class, now());
        assert_eq!(decision.allowed(), allowed.contains(&operation), "{operation:?}: {decision:?}\n{text}");
    }
}

#[test]
fn each_action_is_permitted_by_its_name_alone() {
    let (bo, theirs) = (who("bo"), class("ada", "private"));
    let permit = |action: &str| format!("permit (principal, action == Action::\"{action}\", resource);");
    check_each("", &bo, &theirs, &[]);
    check_each(&permit("Write"), &bo, &theirs, &[Write]);
    check_each(&permit("Share"), &bo, &theirs, &[Share]);
    check_each(&permit("Erase"), &bo, &theirs, &[Erase]);
    check_each(&permit("Unfreeze"), &bo, &theirs, &[Unfreeze]);
    check_each(&permit("Release"), &bo, &theirs, &[Release]);
    check_each(&permit("Govern"), &bo, &theirs, &[]);
    check_each("permit (principal, action, resource);", &bo, &theirs, &OPERATIONS);
    check_each(
        "permit (principal, action in [Action::\"Erase\", Action::\"Share\"], resource);",
        &bo,
        &theirs,
        &[Erase, Share],
    );
    for (text, expect) in [("", false), (permit("Govern").as_str(), true), (permit("Write").as_str(), false)] {
        assert_eq!(policies("none", text).decide_governing(&bo, now()).allowed(), expect, "{text}");
    }
}

#[test]
fn reading_is_full_when_it_may_be_read_and_read_in_full() {
    let read = "permit (principal, action == Action::\"Read\", resource);";
    let in_full = "permit (principal, action == Action::\"ReadInFull\", resource);";
    let both = format!("{read}{in_full}");
    let forbid =
        |action: &str| format!("{both}@id(\"no\") forbid (principal, action == Action::\"{action}\", resource);");
    let plain = class("ada", "private");
    let sensitive = AccessClass { sensitive: true, ..plain.clone() };
    let concealed = AccessClass { concealed: true, ..sensitive.clone() };
    for (text, class, expect, rule) in [
        (read, &plain, Redacted, "no policy lets the caller read it in full"),
        (read, &sensitive, Redacted, "it is sensitive, so it is redacted"),
        (read, &concealed, Denied, "it is sensitive, and nothing in it can be redacted"),
        (in_full, &plain, Denied, "no policy permits it"),
        (&both, &plain, Full, "policy 2"),
        (&both, &concealed, Full, "policy 2"),
        (&forbid("Read"), &plain, Denied, "no"),
        (&forbid("ReadInFull"), &sensitive, Redacted, "no"),
        (&forbid("ReadInFull"), &concealed, Denied, "it is sensitive, and nothing in it can be redacted"),
    ] {
        let decision = policies("none", text).decide(&who("bo"), Read, class, now());
        assert_eq!((decision.access, &*decision.rule), (expect, rule), "{text} {class:?}");
    }
}

#[test]
fn policies_see_who_asks_in_which_setting_for_what() {
    let grants = vec![
        Grant {
            to: Grantee::Principal("user:bo".parse().unwrap()),
            rights: Rights { write: true, ..Rights::default() },
        },
        Grant { to: Grantee::Group(group("bar")), rights: Rights { share: true, ..Rights::default() } },
    ];
    let theirs = AccessClass { grants, sensitive: true, ..class("ada", "shared:kitchen") };
    let bo = who("bo").in_group(group("kitchen")).with_role("chef");
    let bo = bo.acting_for("supper").in_task("t1").in_session("s1").by_model("m1");
    for (condition, expect) in [
        ("principal == Principal::\"user:bo\"", true),
        ("principal == Principal::\"agent:bo\"", false),
        ("principal in Group::\"kitchen\"", true),
        ("principal in Group::\"bar\"", false),
        ("principal in resource.sharer_groups", false),
        ("principal.roles.contains(\"chef\")", true),
        ("principal.roles.contains(\"custodian\")", false),
        ("principal.agent", false),
        ("resource.layer == Layer::\"shared\"", true),
        ("resource.layer == Layer::\"global\"", false),
        ("resource has group && resource.group == Group::\"kitchen\"", true),
        ("resource has group && principal in resource.group", true),
        ("resource.owner == Principal::\"user:ada\"", true),
        ("resource.owner == principal", false),
        ("resource.writers.contains(principal)", true),
        ("resource.readers.contains(principal)", false),
        ("resource.sharer_groups.contains(Group::\"bar\")", true),
        ("resource.sensitive && !resource.concealed", true),
        ("context has purpose && context.purpose == \"supper\"", true),
        ("context has task && context.task == \"t1\"", true),
        ("context has session && context.session like \"s*\"", true),
        ("context has model && context.model == \"m2\"", false),
        ("context.now == datetime(\"2026-03-01T12:00:00Z\")", true),
        ("context.now.toTime() < duration(\"12h\")", false),
    ] {
        let text = format!("permit (principal, action == Action::\"Erase\", resource) when {{ {condition} }};");
        assert_eq!(policies("none", &text).decide(&bo, Erase, &theirs, now()).allowed(), expect, "{condition}");
    }
    let absent = "forbid (principal, action, resource) unless { context has purpose };";
    let rules = policies("layers", absent);
    assert!(!rules.decide(&who("ada"), Read, &class("ada", "private"), now()).allowed());
    assert!(rules.decide(&who("ada").acting_for("x"), Read, &class("ada", "private"), now()).allowed());
}

#[test]
fn what_a_policy_forbids_no_other_permits() {
    let rules = policies(
        "layers",
        "@because(\"not for advertising\")
         forbid (principal, action, resource) when { context has purpose && context.purpose == \"advertising\" };
         @id(\"helpers\")
         permit (principal == Principal::\"agent:cook\", action == Action::\"Read\", resource is Memory)
         when { resource.layer == Layer::\"private\" };",
    );
    let (ada, cook, mine) = (who("ada"), who("agent:cook"), class("ada", "private"));
    for (principal, operation, expect, rule) in [
        (ada.clone(), Read, Full, "the owner may"),
        (ada.clone().acting_for("supper"), Write, Full, "the owner may"),
        (ada.clone().acting_for("advertising"), Read, Denied, "not for advertising"),
        (ada.acting_for("advertising"), Erase, Denied, "not for advertising"),
        (cook.clone(), Read, Redacted, "no policy lets the caller read it in full"),
        (cook.clone().acting_for("advertising"), Read, Denied, "not for advertising"),
        (cook, Write, Denied, "no policy permits it"),
    ] {
        let decision = rules.decide(&principal, operation, &mine, now());
        assert_eq!((decision.access, &*decision.rule), (expect, rule), "{principal:?} {operation:?}");
    }
    let custodian = who("bo").with_role(CUSTODIAN);
    assert!(rules.decide_governing(&custodian, now()).allowed());
    assert!(!rules.decide_governing(&custodian.acting_for("advertising"), now()).allowed());
}

#[test]
fn a_policy_that_reads_the_time_holds_for_a_minute() {
    let rules = policies(
        "layers",
        "@because(\"closed\") forbid (principal, action == Action::\"Write\", resource)
         when { context.now >= datetime(\"2026-03-01T12:30:00Z\") };",
    );
    let (ada, mine) = (who("ada"), class("ada", "private"));
    // Asked in this order, so that each decision finds the one before it at hand.
    for (time, expect) in [
        ("2026-03-01T12:29:59Z", true),
        ("2026-03-01T12:29:59.999Z", true),
        ("2026-03-01T12:30:00Z", false),
        ("2026-03-01T12:30:59Z", false),
        ("2026-03-01T12:29:00Z", true),
        ("9999-12-30T12:00:00Z", false),
        ("-009000-01-01T00:00:00Z", true),
    ] {
        assert_eq!(rules.decide(&ada, Write, &mine, at(time)).allowed(), expect, "{time}");
        assert!(rules.decide(&ada, Read, &mine, at(time)).allowed(), "{time}");
    }
    for extreme in [i64::MIN, i64::MAX] {
        assert_eq!(rules.decide(&ada, Write, &mine, Timestamp::from_millis(extreme)).allowed(), extreme < 0);
    }
}

const ROLL: &str = "
    [members.\"agent:cook\"]
    groups = [\"kitchen\"]
    [members.ada]
    roles = [\"custodian\"]
";

#[test]
fn a_roll_is_closed_and_no_roll_is_open() {
    let (open, closed) = (rules(""), rules(ROLL));
    let kitchen = class("user:eve", "shared:kitchen");
    let cook = who("agent:cook");
    let claims = |name: &str| who(name).in_group(group("kitchen")).with_role(CUSTODIAN);
    for (principal, operation, in_open, in_closed) in [
        (cook.clone(), Read, Denied, Full),
        (claims("agent:cook"), Read, Full, Full),
        (claims("agent:cook"), Erase, Full, Denied),
        (cook.in_group(group("bar")), Read, Denied, Full),
        (claims("user:cook"), Read, Full, Denied),
        (claims("user:cook"), Erase, Full, Denied),
        (claims("ada"), Read, Full, Denied),
        (who("ada"), Release, Denied, Full),
        (who("eve"), Write, Full, Full),
    ] {
        let decide = |rules: &Rules| rules.decide(&principal, operation, &kitchen, now()).access;
        assert_eq!((decide(&open), decide(&closed)), (in_open, in_closed), "{principal:?} {operation:?}");
    }
    assert!(closed.decide_governing(&who("ada"), now()).allowed());
    assert!(!closed.decide_governing(&claims("agent:cook"), now()).allowed());
    assert!(open.decide_governing(&claims("agent:cook"), now()).allowed());
    // What they act for is their own word all the same.
    let asked = claims("ada").acting_for("audit");
    assert_eq!(closed.charter().enrolled(&asked).context, asked.context);
}

#[test]
fn a_policy_that_fails_denies() {
    let fails = "9223372036854775807 + 1 > 0";
    let mine = class("ada", "private");
    for (text, operation, names) in [
        (format!("@id(\"night\") forbid (principal, action, resource) when {{ {fails} }};"), Write, "`night`"),
        (format!("permit (principal, action, resource) when {{ {fails} }};"), Erase, "`policy 1`"),
        (format!("forbid (principal, action == Action::\"Read\", resource) when {{ {fails} }};"), Read, "`policy 1`"),
        (
            format!("forbid (principal, action == Action::\"ReadInFull\", resource) when {{ {fails} }};"),
            Read,
            "`policy 1`",
        ),
        (
            "permit (principal, action, resource) when { context.now.offset(duration(\"9223372036854775807ms\"))
             > context.now };"
                .to_owned(),
            Share,
            "`policy 1`",
        ),
    ] {
        let decision = policies("layers", &text).decide(&who("ada"), operation, &mine, now());
        assert_eq!(decision.access, Denied, "{text}");
        assert!(decision.rule.starts_with(names) && decision.rule.contains("overflow"), "{}", decision.rule);
    }
    // What fails for others does not fail for those whom it is not about.
    let text = format!("forbid (principal == Principal::\"user:bo\", action, resource) when {{ {fails} }};");
    assert!(policies("layers", &text).decide(&who("ada"), Read, &mine, now()).allowed());
}

#[test]
fn a_policy_that_cannot_hold_is_refused_with_its_place() {
    let one = |policy: &str| format!("# a charter\n[policies]\ntext = '''\n\n{policy}\n'''");
    let when = |condition: &str| {
        one(&format!("permit (principal, action == Action::\"Read\", resource) when {{ {condition} }};"))
    };
    for (text, expect) in [
        (one("permit (principal, action resource);"), "line 5: the policy that begins here cannot be read: unexpected"),
        (
            one("permit (principal, action, resource);\n\nnothing;"),
            "line 7: the policy that begins here cannot be read",
        ),
        (
            one("permit (principal, action, resource)"),
            "line 5: the policy that begins here cannot be read: unexpected end",
        ),
        (one("permit (principal == ?principal, action, resource);"), "template"),
        (when("resource.layr == 1"), "attribute `layr`"),
        (when("context.purpose == \"x\""), "`purpose`"),
        (when("principal.roles == 1"), "types"),
        (when("resource.layer == Layer::\"shred\""), "is not declared"),
        (when("principal in Gruop::\"kitchen\""), "Gruop"),
        (when("resource.owner.roles.contains(\"x\")"), "level"),
        (when("Principal::\"user:ada\".agent"), "entity literal"),
        (when("context.now < datetime(\"in spring\")"), "datetime"),
        (when("false"), "policy is impossible"),
        (one("permit (principal, action == Action::\"Delete\", resource);"), "Delete"),
        (one("permit (principal, action == Action::\"Govern\", resource is Memory);"), "line 5"),
        (one("permit (principal, action, resource) when { resource.sensitive };"), "line 5"),
        (one("forbid (principal == Principal::\"agent\", action, resource);"), "write `Principal::\"user:agent\"`"),
        (one("forbid (principal == Principal::\"robot:x\", action, resource);"), "`robot:x` is not a principal"),
        (one("forbid (principal in Group::\"The Kitchen\", action, resource);"), "`The Kitchen` is not a group's name"),
        (one("forbid (principal, action, resource == Memory::\"a\");"), "names a single one"),
        (one("forbid (principal, action == Action::\"Govern\", resource == Space::\"a\");"), "names a single one"),
        (
            one("@because(\"a\\nb\") permit (principal, action, resource);"),
            "`a\\nb` has characters that cannot be shown",
        ),
        (one(&format!("@id(\"{}\") permit (principal, action, resource);", "x".repeat(257))), "has 257 bytes"),
        (
            "[policies]\ntext = \"\"\"\\\n  permit \\\n (principal);\\n\\nx\"\"\"".to_owned(),
            "line 1 of the policies: the policy that begins here cannot be read",
        ),
        ("[policies]\ntext = 'permit (x);'".to_owned(), "line 2: the policy that begins here"),
        ("[policies]\r\ntext = '''\r\npermit (x);'''".to_owned(), "the policy that begins here"),
    ] {
        let refused = refusal(&text);
        assert!(refused.contains(expect) && refused.starts_with("line "), "{refused}\n{text}");
    }
}

#[test]
fn a_charter_that_cannot_be_is_refused_with_its_line() {
    let members = |count: usize| (0..count).map(|number| format!("a{number}={{}}\n")).collect::<String>();
    for (text, expect) in [
        ("x".to_owned(), "line 1: "),
        ("\n[membres]".to_owned(), "line 2: unknown field `membres`"),
        ("[policies]\nbase = \"none\"\ntxt = ''".to_owned(), "line 3: unknown field `txt`"),
        ("[policies]\nbase = \"all\"".to_owned(), "line 2: unknown variant `all`"),
        ("[members]".to_owned(), "`members` names nobody"),
        ("[members.\"robot:x\"]".to_owned(), "`robot:x` is not a principal"),
        ("[members.\"agent:memos\"]".to_owned(), "`agent:memos`: it is the space itself"),
        ("[members.ada]\n[members.\"user:ada\"]".to_owned(), "`user:ada`: it is named twice"),
        ("[members.ada]\ngroups = [\n\"The Bar\"]".to_owned(), "line 2: `The Bar` is not a group's name"),
        ("[members.ada]\nroles = ['']".to_owned(), "line 2: `` is no role"),
        ("[members.ada]\nroles = [' x']".to_owned(), "line 2: ` x` is no role"),
        (format!("[members.ada]\nroles = ['{}']", "r".repeat(65)), "is no role"),
        (format!("[members.ada]\nroles = [{}]", "'r',".repeat(65)), "`ada`: the member has 65 roles"),
        (format!("[members.ada]\ngroups = [{}]", "'g',".repeat(65)), "`ada`: the member has 65 groups"),
        (format!("[members]\n{}", members(4097)), "the charter has 4097 names in one table"),
        (format!("[quotas]\n{}", members(4097)), "the charter has 4097 names in one table"),
        ("[members.default]\n[members.\"user:default\"]".to_owned(), "it is named twice"),
        ("[quotas.default]\nrequests_per_second = 0".to_owned(), "`default`: `requests_per_second = 0` is no rate"),
        ("[quotas.ada]\nwrites_per_second = nan".to_owned(), "`ada`: `writes_per_second = NaN` is no rate"),
        ("[quotas.ada]\nburst = 0".to_owned(), "`ada`: `burst = 0` lets nothing through"),
        ("[quotas.ada]\nmemories = -1".to_owned(), "line 2: invalid value"),
        ("[quotas]\nburst = 1".to_owned(), "line 2: invalid type"),
        ("[audit]\nread = true".to_owned(), "line 2: unknown field `read`"),
        ("\n[retention]\narchive_below_weight = 2.0".to_owned(), "line 2: retention: `2` is no weight"),
        ("[retention]\nerase_after_days = 'soon'".to_owned(), "line 2: a number of days, or `never`"),
        ("#".repeat(CHARTER_BYTES + 1), "the charter has 65537 bytes"),
        (format!("a = {}", "[".repeat(20_000)), "line 1: "),
        (format!("a = {}", "{a=".repeat(20_000)), "line 1: "),
        (format!("[policies]\ntext='''{}'''", ";".repeat(1025)), "the charter has 1025 policies"),
        (format!("[policies]\ntext='''\n{}'''", "(".repeat(33)), "line 3: brackets stand 33 deep"),
    ] {
        let refused = refusal(&text);
        assert!(refused.contains(expect), "{refused}\n{}", text.chars().take(200).collect::<String>());
    }
    assert_eq!(Charter::parse(&format!("[members]\n{}", members(4096))).unwrap().members().len(), 4096);
}

#[test]
fn the_deepest_policies_are_decided_on_a_small_stack() {
    let words = super::super::cedar::WORDS - 30;
    let repeat = |text: &str, count: usize| text.repeat(words / count);
    for (condition, expect) in [
        (repeat("1==1&&", 4) + "true", true),
        (repeat("1==2||", 4) + "true", true),
        (repeat("1+", 2) + "1>0", true),
        (repeat("1*", 2) + "1>0", true),
        (repeat("if true then true else ", 5) + "true", true),
        (repeat("if principal.agent then principal.agent else ", 9) + "true", true),
        (repeat("context has task&&context.task==\"t\"&&", 9) + "true", true),
        (format!("true}} {} unless {{false", repeat("when {true}", 3)), true),
        (format!("[{}].contains(2)", "1,".repeat(words - 3)), false),
        (format!("\"{}\" like \"{}b\"", "a".repeat(3900), "*a".repeat(1900)), false),
        (format!("{}1==1{}", "(1==1&&".repeat(30), ")".repeat(30)), true),
        (format!("principal{}", repeat(".a", 2)), false),
        (format!("context has {}a", repeat("a.", 2)), false),
        (repeat("!", 1) + "true", false),
        (repeat("-", 1) + "1==1", false),
    ] {
        let text = format!("permit (principal, action == Action::\"Erase\", resource) when {{ {condition} }};");
        let charter = Charter::parse(&format!("[policies]\ntext = '''{text}'''")).unwrap();
        let decide = move || {
            let decision = charter
                .rules()
                .map(|rules| rules.decide(&who("bo").in_task("t"), Erase, &class("ada", "private"), now()));
            (decision.as_ref().is_ok_and(Decision::allowed), format!("{decision:?}"))
        };
        let thread = std::thread::Builder::new().stack_size(1024 * 1024);
        let (allowed, decision) =
            std::thread::scope(|scope| thread.spawn_scoped(scope, decide).unwrap().join().unwrap());
        assert_eq!(allowed, expect, "{decision} {condition}");
        assert!(!decision.contains("recursion"), "{decision} {condition}");
    }
}

#[test]
fn what_a_charter_says_is_read_and_written() {
    let text = include_str!("../../../../examples/charter.toml");
    let charter = Charter::parse(text).unwrap();
    assert_eq!((charter.text(), charter.to_string().as_str(), charter.base()), (text, text, Base::Layers));
    let name = |text: &str| text.parse::<PrincipalId>().unwrap();
    assert_eq!(charter.members().len(), 4);
    let (cook, concierge) = (charter.quota(&name("agent:cook")), charter.quota(&name("agent:concierge")));
    assert_eq!((cook.requests_per_second, cook.burst, cook.memories), (Some(20.0), Some(40), Some(20_000)));
    assert_eq!((concierge.requests_per_second, concierge.writes_per_second), (Some(100.0), Some(5.0)));
    assert_eq!((charter.audit().reads, charter.most_recalled()), (true, Some(200_000)));
    assert_eq!(charter.retention().erase_after_millis, Some(14 * 24 * 3600 * 1000));

    let rules = charter.rules().unwrap();
    let house = AccessClass { sensitive: true, ..class("user:ada", "shared:house") };
    let (night, day) = (at("2026-03-01T23:15:00Z"), now());
    let keeper = who("agent:bookkeeper");
    for (principal, operation, class, at, expect) in [
        (keeper.clone(), Read, &house, day, Denied),
        (keeper.clone().acting_for("bookkeeping"), Read, &house, day, Full),
        (keeper.acting_for("advertising"), Read, &house, day, Denied),
        (who("agent:concierge"), Read, &house, day, Redacted),
        (who("agent:concierge"), Write, &class("agent:concierge", "private"), day, Full),
        (who("agent:concierge"), Write, &class("agent:concierge", "private"), night, Denied),
        (who("user:ada"), Write, &house, night, Full),
    ] {
        assert_eq!(rules.decide(&principal, operation, class, at).access, expect, "{principal:?} {operation:?}");
    }
    assert!(rules.decide_governing(&who("user:ada"), night).allowed());
}

#[test]
fn an_empty_charter_says_nothing_but_the_layers() {
    let charter = Charter::parse("").unwrap();
    assert_eq!((&charter, charter.quota(&"ada".parse().unwrap())), (&Charter::default(), Quota::default()));
    assert_eq!((charter.retention(), charter.most_recalled()), (&Retention::default(), None));
    assert!(charter.audit().reads);
    let never = Charter::parse("retention.erase_after_days = 'never'\naudit.reads = false").unwrap();
    assert_eq!((never.retention().erase_after_millis, never.audit().reads), (None, false));
    assert!(rules("").decide(&who("ada"), Read, &class("ada", "private"), now()).allowed());
    assert!(!rules("policies.base = 'none'").decide(&who("ada"), Read, &class("ada", "private"), now()).allowed());
}

#[test]
fn decisions_are_kept_whole_and_within_their_bound() {
    let decisions = Decisions::new(1024 * 1024);
    let calls = std::cell::Cell::new(0);
    let ask = |principal: &Principal, operation, class: &AccessClass, minute| {
        decisions.get_or(principal, operation, class, minute, || {
            calls.set(calls.get() + 1);
            Decision::allow("it may")
        });
        calls.replace(0) == 1
    };
    let (ada, mine) = (who("ada"), class("ada", "private"));
    let other = AccessClass { sensitive: true, ..mine.clone() };
    for (principal, operation, class, minute, made) in [
        (ada.clone(), Read, &mine, None, true),
        (ada.clone(), Read, &mine, None, false),
        (ada.clone(), Write, &mine, None, true),
        (ada.clone(), Read, &other, None, true),
        (ada.clone().in_task("t"), Read, &mine, None, true),
        (ada.clone().in_group(group("g")), Read, &mine, None, true),
        (ada.clone(), Read, &mine, Some(1), true),
        (ada.clone(), Read, &mine, Some(1), false),
        (ada.clone(), Read, &mine, Some(2), true),
        (ada.clone(), Write, &mine, None, false),
    ] {
        assert_eq!(ask(&principal, operation, class, minute), made, "{principal:?} {operation:?} {class:?} {minute:?}");
    }
    for number in 0..20_000 {
        ask(&ada.clone().in_task(format!("task {number}")), Read, &mine, None);
        // What is asked for again and again stays at hand.
        assert!(number == 0 || !ask(&ada, Write, &mine, None), "{number}");
    }
    let (entries, bytes) = decisions.bytes();
    assert!(entries > 500 && bytes <= 1024 * 1024, "{entries} entries, {bytes} bytes");
    // What is larger than a part of the cache is not kept.
    let long = ada.in_task("t".repeat(1024 * 1024));
    assert!(ask(&long, Read, &mine, None) && ask(&long, Read, &mine, None));
}

fn principals() -> impl Strategy<Value = Principal> {
    let names = prop::sample::select(vec!["user:ada", "user:bo", "agent:bo"]);
    let groups = prop::collection::btree_set(prop::sample::select(vec![group("kitchen"), group("bar")]), 0..=2);
    let roles = prop::collection::btree_set(prop::sample::select(vec![CUSTODIAN, SENSITIVE_READER, "chef"]), 0..=3);
    (names, groups, roles, prop::option::of("[a-z\"\\\\]{0,3}")).prop_map(|(name, groups, roles, purpose)| {
        let mut principal = Principal { groups, ..who(name) };
        principal.roles = roles.into_iter().map(str::to_owned).collect();
        principal.context.purpose = purpose;
        principal
    })
}

fn classes() -> impl Strategy<Value = AccessClass> {
    let names = || prop::sample::select(vec!["user:ada", "user:bo", "agent:bo"]).prop_map(|name| name.parse().unwrap());
    let groups = || prop::sample::select(vec![group("kitchen"), group("bar")]);
    let grantees = prop_oneof![names().prop_map(Grantee::Principal), groups().prop_map(Grantee::Group)];
    let rights = any::<(bool, bool, bool)>().prop_map(|(read, write, share)| Rights { read, write, share });
    let grants = prop::collection::vec((grantees, rights).prop_map(|(to, rights)| Grant { to, rights }), 0..4);
    let layers = prop_oneof![Just(Layer::Private), groups().prop_map(Layer::Shared), Just(Layer::Global)];
    (layers, names(), grants, any::<(bool, bool)>()).prop_map(|(layer, owner, grants, (sensitive, concealed))| {
        AccessClass { layer, owner, grants, sensitive, concealed }
    })
}

#[test]
fn the_layers_in_cedar_are_the_layers() {
    let rules = rules("");
    proptest!(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() },
    |(principal in principals(), class in classes(), millis in any::<i64>())| {
        let at = Timestamp::from_millis(millis);
        for operation in OPERATIONS {
            let (ours, theirs) = (
                rules.decide(&principal, operation, &class, at),
                LayerPolicy.decide(&principal, operation, &class, at),
            );
            prop_assert_eq!(ours.access, theirs.access, "{:?}", operation);
            if ours.allowed() {
                prop_assert_eq!(ours.rule, theirs.rule, "{:?}", operation);
            }
            // From the cache it is the same.
            prop_assert_eq!(rules.decide(&principal, operation, &class, at).access, theirs.access);
        }
        let governing = (rules.decide_governing(&principal, at), LayerPolicy.decide_governing(&principal, at));
        prop_assert_eq!(governing.0.access, governing.1.access);
    });
}

/// Most policies of a charter can be for one principal each, and are not looked at for the others.
#[test]
fn what_is_for_one_principal_is_weighed_with_what_is_for_all() {
    let text = r#"
        @because("all may") permit (principal, action == Action::"Write", resource);
        @because("not bo") forbid (principal == Principal::"user:bo", action == Action::"Write", resource);
        @because("bo may") permit (principal == Principal::"user:bo", action in [Action::"Write", Action::"Share"], resource);
        @because("cy may") permit (principal == Principal::"user:cy", action in [Action::"Share", Action::"Erase"], resource);
        @because("nobody") forbid (principal, action == Action::"Erase", resource);
        @because("breaks") forbid (principal == Principal::"user:di", action == Action::"Write", resource)
        when { 9223372036854775807 + 1 == 0 };
    "#;
    let rules = policies("none", text);
    for (name, operation, access, rule) in [
        ("user:ada", Write, Full, "all may"),
        ("user:bo", Write, Denied, "not bo"),
        ("user:bo", Share, Full, "bo may"),
        ("user:cy", Write, Full, "all may"),
        ("user:cy", Share, Full, "cy may"),
        ("user:cy", Erase, Denied, "nobody"),
        ("user:ada", Share, Denied, "no policy permits it"),
        ("user:di", Write, Denied, "`breaks` cannot be evaluated"),
    ] {
        let decision = rules.decide(&who(name), operation, &class("user:ada", "global"), now());
        assert_eq!(decision.access, access, "{name} {operation:?}: {decision:?}");
        assert!(decision.rule.starts_with(rule), "{name} {operation:?}: {decision:?}");
    }
}

#[test]
fn a_policy_looks_at_any_grant_whatever_it_decides_on() {
    let grants = |rights| vec![Grant { to: Grantee::Principal("user:bo".parse().unwrap()), rights }];
    let (none, all) = (Rights { read: false, write: false, share: false }, [Read, Write]);
    for (attribute, rights) in [
        ("resource.readers", Rights { read: true, ..none }),
        ("resource.writers", Rights { write: true, ..none }),
        ("resource.sharers", Rights { share: true, ..none }),
        // Written so that the name is not there to be found.
        ("resource[\"shar\\u{65}rs\"]", Rights { share: true, ..none }),
    ] {
        let actions = "action in [Action::\"Read\", Action::\"ReadInFull\", Action::\"Write\"]";
        let text = format!("permit (principal, {actions}, resource) when {{ {attribute}.contains(principal) }};");
        let granted = AccessClass { grants: grants(rights), ..class("user:ada", "private") };
        check_each(&text, &who("user:bo"), &granted, &all);
        check_each(&text, &who("user:cy"), &granted, &[]);
    }
}
