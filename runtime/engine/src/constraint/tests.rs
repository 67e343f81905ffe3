use serde_json::json;

use super::*;
use crate::ErrorKind;
use crate::dice::Dice;
use crate::tokenizer::tests::{byte_level, marked_pairs, pieces};

/// The tokenizers, with the token that ends an answer.
fn every_kind() -> [(Tokenizer, u32); 3] {
    [(byte_level(), "<|end|>"), (marked_pairs(), "</s>"), (pieces(), "<|end|>")].map(|(tokenizer, end)| {
        let end = tokenizer.token_id(end).unwrap();
        (tokenizer, end)
    })
}

/// Writes an answer from tokens of chance among those allowed, and ends where it can half of the time.
fn written(tokenizer: &Tokenizer, end: u32, constraint: &mut Constraint, dice: &mut Dice) -> Option<String> {
    let mut tokens = Vec::new();
    for _ in 0..2000 {
        let mask = constraint.allowed().unwrap();
        assert_eq!(mask.allows(end), constraint.may_end());
        if mask.allows(end) && (mask.count() == 1 || dice.happens(0.5)) {
            constraint.accept(end).unwrap();
            return Some(tokenizer.decode(&tokens));
        }
        let allowed: Vec<u32> = (0..tokenizer.vocabulary_size() as u32).filter(|token| mask.allows(*token)).collect();
        assert!(!allowed.is_empty());
        // What closes comes more often than by chance, or answers would grow for ever.
        let closing = allowed.iter().filter(|token| matches!(tokenizer.pieces().bytes(**token), b"\"" | b"}" | b"]"));
        let closing: Vec<u32> = closing.copied().collect();
        let from = if !closing.is_empty() && dice.happens(0.4) { &closing } else { &allowed };
        let token = *dice.pick(from).unwrap();
        constraint.accept(token).unwrap();
        tokens.push(token);
    }
    None
}

/// Has many answers written by chance with every tokenizer, and hands each to a judge.
#[track_caller]
fn check(form: &Form, judge: impl Fn(&str) -> bool) {
    for (tokenizer, end) in every_kind() {
        let constraints = Constraints::of(&tokenizer, &[end]).unwrap();
        let mut finished = 0;
        for seed in 0..40 {
            let mut constraint = constraints.begin(form).unwrap();
            if let Some(text) = written(&tokenizer, end, &mut constraint, &mut Dice::new(seed)) {
                assert!(judge(&text), "{text}");
                finished += 1;
            }
        }
        assert!(finished > 20, "only {finished} answers came to an end");
    }
}

#[track_caller]
fn check_schema(schema: Value, judge: impl Fn(&Value) -> bool) {
    check(&Form::JsonSchema(schema.to_string()), |text| judge(&serde_json::from_str(text).expect(text)));
}

#[test]
fn whatever_is_chosen_is_json() {
    check(&Form::Json, |text| serde_json::from_str::<Value>(text).is_ok());
}

#[test]
fn whatever_is_chosen_keeps_to_the_schema() {
    let person = json!({
        "type": "object", "additionalProperties": false, "required": ["name", "age"],
        "properties": { "name": { "type": "string", "maxLength": 6 }, "age": { "type": "integer", "minimum": 0, "maximum": 150 },
            "home": { "enum": ["Oslo", "Rome", null] } }
    });
    check_schema(person, |value| {
        let known = value.as_object().unwrap().keys().all(|key| ["name", "age", "home"].contains(&key.as_str()));
        let home = value.get("home").is_none_or(|home| [json!("Oslo"), json!("Rome"), json!(null)].contains(home));
        let name = value["name"].as_str().is_some_and(|name| name.chars().count() <= 6);
        known && home && name && value["age"].as_u64().is_some_and(|age| age <= 150)
    });
    check_schema(json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 2, "maxItems": 3 }), |value| {
        let items = value.as_array().unwrap();
        (2..=3).contains(&items.len()) && items.iter().all(Value::is_boolean)
    });
    let tree = json!({
        "$defs": { "node": { "type": "object", "required": ["leaf"], "additionalProperties": false,
            "properties": { "leaf": { "type": "boolean" }, "next": { "$ref": "#/$defs/node" } } } },
        "$ref": "#/$defs/node"
    });
    check_schema(tree, |value| {
        let mut node = value;
        while let Some(next) = node.get("next") {
            node = next;
        }
        node["leaf"].is_boolean()
    });
    check_schema(json!({ "anyOf": [{ "const": "true" }, { "type": "null" }] }), |value| {
        *value == json!("true") || value.is_null()
    });
}

#[test]
fn whatever_is_chosen_matches_the_expression() {
    check(&Form::Pattern("[0-9]{4}-(0[1-9]|1[0-2])".to_owned()), |text| {
        let (year, month) = text.split_once('-').unwrap();
        year.len() == 4 && year.parse::<u32>().is_ok() && (1..=12).contains(&month.parse::<u32>().unwrap())
    });
    check(&Form::Pattern("(Mira|Öre €)!?".to_owned()), |text| ["Mira", "Mira!", "Öre €", "Öre €!"].contains(&text));
}

#[test]
fn white_space_between_parts_has_an_end() {
    let (tokenizer, end) = (byte_level(), byte_level().token_id("<|end|>").unwrap());
    let mut constraint = Constraints::of(&tokenizer, &[end]).unwrap().begin(&Form::Json).unwrap();
    let space = tokenizer.token_id("Ġ").unwrap();
    constraint.accept(tokenizer.token_id("[").unwrap()).unwrap();
    let spaces = (0..100).take_while(|_| constraint.accept(space).is_ok()).count();
    assert_eq!(spaces, 16);
}

#[test]
fn a_token_that_was_not_allowed_changes_nothing() {
    let (tokenizer, end) = (pieces(), pieces().token_id("<|end|>").unwrap());
    let token = |text: &str| tokenizer.token_id(text).unwrap();
    let mut constraint =
        Constraints::of(&tokenizer, &[end]).unwrap().begin(&Form::Pattern("true|t1".to_owned())).unwrap();
    for wrong in [token("▁Mira"), end, token("<unk>"), token("<s>"), token("<0xFF>"), u32::MAX] {
        assert_eq!(constraint.accept(wrong).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(!constraint.may_end());
    constraint.accept(token("<0x74>")).unwrap();
    let mut other = constraint.clone();
    constraint.accept(token("1")).unwrap();
    assert!(constraint.is_complete());
    other.accept(token("r")).unwrap();
    assert!(!other.may_end());
    for _ in 0..2 {
        assert!(constraint.allowed().unwrap().allows(end));
        assert!(constraint.accept(token("r")).is_err());
        constraint.accept(end).unwrap();
        assert!(constraint.is_complete() && constraint.may_end());
    }
}

#[test]
fn what_cannot_be_a_form_is_refused() {
    let (tokenizer, end) = (pieces(), pieces().token_id("<|end|>").unwrap());
    let constraints = Constraints::of(&tokenizer, &[end]).unwrap();
    let check = |form: Form, says: &str| {
        let error = constraints.begin(&form).err().unwrap_or_else(|| panic!("{form:?} was taken"));
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(says), "{error}");
    };
    let schema = |schema: &str| Form::JsonSchema(schema.to_owned());
    check(schema("{"), "is not JSON");
    check(schema("7"), "is an object");
    check(schema("false"), "is an object");
    check(schema(r#"{"type": "wood"}"#), "cannot be used");
    check(schema(r#"{"type": "integer", "minimum": 2, "maximum": 1}"#), "cannot be used");
    check(schema(r#"{"$ref": "https://example.org/schema"}"#), "cannot be used");
    check(schema(r#"{"not": {"type": "null"}}"#), "cannot be used");
    check(schema(&format!("{{\"title\": \"{}\"}}", "x".repeat(SCHEMA_BYTES_MAX))), "too large");
    let deep = (0..=SCHEMA_DEPTH_MAX / 2).fold(json!({}), |inner, _| json!({ "properties": { "a": inner } }));
    check(schema(&deep.to_string()), "too deep");
    let linked = vec![json!({ "$ref": "#/$defs/a" }); SCHEMA_REFERENCES_MAX + 1];
    check(schema(&json!({ "$defs": { "a": {} }, "anyOf": linked }).to_string()), "too many references");
    check(Form::Pattern("(".to_owned()), "the expression `(`");
    check(Form::Pattern("x".repeat(PATTERN_BYTES_MAX + 1)), "too long");
    assert!(Constraints::of(&tokenizer, &[]).is_err());
    assert!(Constraints::of(&tokenizer, &[u32::MAX]).is_err());
}

#[test]
fn a_schema_at_its_limits_neither_hangs_nor_overflows() {
    let (tokenizer, end) = (pieces(), pieces().token_id("<|end|>").unwrap());
    let constraints = Constraints::of(&tokenizer, &[end]).unwrap();
    let last = SCHEMA_REFERENCES_MAX - 1;
    let defined = |link: &dyn Fn(usize) -> Value| {
        let defs: serde_json::Map<_, _> = (0..last).map(|place| (place.to_string(), link(place))).collect();
        Form::JsonSchema(json!({ "$defs": defs, "$ref": "#/$defs/0" }).to_string())
    };
    let next = |place: usize| format!("#/$defs/{}", (place + 1) % last);
    for form in [
        defined(&|place| json!({ "$ref": next(place) })),
        defined(&|place| json!({ "allOf": [{ "$ref": next(place) }] })),
        defined(&|place| json!({ "properties": { "a": { "$ref": next(place) } } })),
        Form::JsonSchema(json!({ "type": "string", "maxLength": 1_000_000_000 }).to_string()),
        Form::JsonSchema(json!({ "type": "array", "minItems": 1_000_000_000 }).to_string()),
        Form::JsonSchema(json!({ "type": "string", "pattern": "((a{1,1000}){1,1000}){1,1000}" }).to_string()),
        Form::Pattern("((a{1,1000}){1,1000}){1,1000}".to_owned()),
        Form::Pattern("(".repeat(PATTERN_BYTES_MAX / 2) + &")".repeat(PATTERN_BYTES_MAX / 2)),
    ] {
        // Taken or refused: it comes back.
        if let Ok(mut constraint) = constraints.begin(&form) {
            let _ = constraint.allowed();
        }
    }
}

#[test]
fn a_constraint_goes_to_the_thread_that_needs_it() {
    fn check<T: Send>() {}
    check::<Constraint>();
    check::<Constraints>();
}
