//! Policies as Cedar: the only room that knows the library.
//!
//! Cedar permits what some policy permits and none forbids, and skips a policy that fails while it is evaluated. A forbidding
//! one that fails would let through what it stands against, so here any failure is a denial. What can be known beforehand is
//! refused beforehand: a policy must fit the schema in Cedar's strict mode, look at nothing but what is handed to it, and
//! name nobody who cannot exist, since a forbidding policy with a misspelt name would forbid nothing and say so to nobody.
//!
//! Decisions are functions of what is handed in. This room knows no charter, no cache and no clock.

mod passages;
mod question;

use std::borrow::Cow;
use std::collections::HashMap;

use cedar_policy::{
    ActionConstraint, Authorizer, Decision as Verdict, Entities, EntityUid, PolicyId, PolicySet, PrincipalConstraint,
    Schema, ValidationMode, Validator,
};

use self::passages::{Passage, passages};
use self::question::{RIGHTS, Types, type_name, uid};
use super::{Access, AccessClass, Decision, Operation, Principal};
use crate::cube::{GroupName, PrincipalId};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Policies of one charter.
pub(super) const POLICIES: usize = 1024;
/// Bytes of one policy.
pub(super) const POLICY_BYTES: usize = 8 * 1024;
/// Words and signs of one policy, but for those in quotes. Cedar's evaluator calls itself, and fails where the stack ends: so
/// this keeps a decision from depending on who asks for it from how far down.
pub(super) const WORDS: usize = 256;
/// Brackets within brackets in one policy.
pub(super) const NESTING: usize = 32;
/// Bytes of what a policy says of itself: its `@because` or `@id`.
pub(super) const RULE_BYTES: usize = 256;

/// What policies may speak of.
const SCHEMA: &str = include_str!("cedar/schema.cedarschema");
/// The rules of the three layers.
const LAYERS: &str = include_str!("cedar/layers.cedar");

/// How far a policy may look: at the principal and the memory, which are handed in, and not at what those name.
const LOOKS_AT: u32 = 1;

/// Bytes of the stack on which policies are read. Cedar's validator says nothing against what it has no stack left to look
/// at, so it gets more than the deepest policy needs, whoever calls.
const STACK_BYTES: usize = 4 * 1024 * 1024;

const MINUTE_MILLIS: i64 = 60_000;

/// What is done, as policies call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Read,
    ReadInFull,
    Write,
    Share,
    Erase,
    Unfreeze,
    Release,
    Govern,
}

impl Action {
    const ALL: [Self; 8] = [
        Self::Read,
        Self::ReadInFull,
        Self::Write,
        Self::Share,
        Self::Erase,
        Self::Unfreeze,
        Self::Release,
        Self::Govern,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::ReadInFull => "ReadInFull",
            Self::Write => "Write",
            Self::Share => "Share",
            Self::Erase => "Erase",
            Self::Unfreeze => "Unfreeze",
            Self::Release => "Release",
            Self::Govern => "Govern",
        }
    }
}

impl From<Operation> for Action {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Read => Self::Read,
            Operation::Write => Self::Write,
            Operation::Share => Self::Share,
            Operation::Erase => Self::Erase,
            Operation::Unfreeze => Self::Unfreeze,
            Operation::Release => Self::Release,
        }
    }
}

/// The policies that can hold for one action. Cedar evaluates all that it is given, so it is given no others.
struct Statute {
    action: EntityUid,
    /// Those for everybody, or for a group or a type.
    general: PolicySet,
    /// Those for one principal alone: for others they neither hold nor fail.
    named: HashMap<EntityUid, PolicySet>,
    /// For each of the rights, whether a policy may look at who has it by a grant.
    looks_at: [bool; RIGHTS.len()],
    reads_time: bool,
}

/// What stands in a decision that a policy made, and the place of the policy among all.
struct Rule {
    place: usize,
    words: Cow<'static, str>,
}

/// Policies that were read, held against the schema, and are ready to decide.
pub(super) struct Policies {
    authorizer: Authorizer,
    types: Types,
    statutes: Vec<Statute>,
    rules: HashMap<PolicyId, Rule>,
}

impl Policies {
    /// Makes a text of policies ready; `layers` adds those of the three layers, and `place` names a line of the text.
    ///
    /// # Errors
    /// `Invalid`, with the line, when a policy cannot be read, does not fit the schema, or is beyond a limit.
    pub(super) fn compile(layers: bool, text: &str, place: impl Fn(usize) -> String + Send) -> Result<Self> {
        let refused = |error: String| Error::unavailable(format!("the policies cannot be read at the moment: {error}"));
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("policies".into()).stack_size(STACK_BYTES);
            let reading = thread.spawn_scoped(scope, move || Self::read(layers, text, place));
            let read = reading.map_err(|error| refused(error.to_string()))?.join();
            read.unwrap_or_else(|_| Err(refused("the reader has broken off".to_owned())))
        })
    }

    fn read(layers: bool, text: &str, place: impl Fn(usize) -> String) -> Result<Self> {
        // The warnings are about names of the schema, which is no caller's.
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| Error::invalid(error.to_string()))?;
        let validator = Validator::new(schema);
        let mut compiled = Vec::new();
        for (number, passage) in passages(text, &place)?.into_iter().enumerate() {
            let policy = read(&format!("{}", number + 1), &passage, &validator);
            compiled.push(policy.map_err(|error| error.at(place(passage.line)))?);
        }
        for (number, passage) in
            passages(if layers { LAYERS } else { "" }, |line| format!("line {line} of the layers"))?
                .into_iter()
                .enumerate()
        {
            compiled.push(read(&format!("layers {}", number + 1), &passage, &validator)?);
        }
        let kind = type_name("Action")?;
        let statutes = Action::ALL.map(|action| Statute::of(uid(&kind, action.name()), &compiled));
        let statutes = statutes.into_iter().collect::<Result<Vec<_>>>()?;
        let rules = compiled.into_iter().enumerate().map(|(place, Compiled { policy, words, .. })| {
            let words = words.unwrap_or_else(|| format!("policy {}", policy.id()));
            (policy.id().clone(), Rule { place, words: Cow::Owned(words) })
        });
        Ok(Self { authorizer: Authorizer::new(), types: Types::new()?, statutes, rules: rules.collect() })
    }

    /// Returns the minute for which a decision holds, or none when it holds for ever.
    pub(super) fn minute(&self, operation: Operation, at: Timestamp) -> Option<i64> {
        let actions: &[Action] = match operation {
            Operation::Read => &[Action::Read, Action::ReadInFull],
            _ => &[Action::from(operation)],
        };
        let reads = actions.iter().any(|action| self.statute(*action).is_some_and(|statute| statute.reads_time));
        reads.then(|| at.as_millis().div_euclid(MINUTE_MILLIS))
    }

    /// Decides one operation on the cubes of a class. Whatever cannot be decided is denied.
    pub(super) fn decide(
        &self,
        principal: &Principal,
        operation: Operation,
        class: &AccessClass,
        at: Timestamp,
    ) -> Decision {
        let full = (operation == Operation::Read).then_some(Action::ReadInFull);
        let looks_at = self.looks_at([Some(operation.into()), full]);
        let parties = match self.types.parties(principal, Some((class, looks_at))) {
            Ok(parties) => parties,
            Err(error) => return denied(Cow::Owned(error.to_string())),
        };
        let asked = self.ask(principal, operation.into(), &parties, at);
        if full.is_none() {
            return decided(asked);
        }
        let Ok(_) = asked else { return decided(asked) };
        match self.ask(principal, Action::ReadInFull, &parties, at) {
            Ok(rule) => Decision { access: Access::Full, rule },
            Err(Refusal::Failed(rule)) => denied(rule),
            Err(_) if class.concealed => Decision::deny("it is sensitive, and nothing in it can be redacted"),
            Err(Refusal::Forbidden(rule)) => Decision { access: Access::Redacted, rule },
            Err(Refusal::NotPermitted) if class.sensitive => {
                Decision { access: Access::Redacted, rule: Cow::Borrowed("it is sensitive, so it is redacted") }
            }
            Err(Refusal::NotPermitted) => {
                Decision { access: Access::Redacted, rule: Cow::Borrowed("no policy lets the caller read it in full") }
            }
        }
    }

    /// Decides whether somebody may change the rules of the space.
    pub(super) fn decide_governing(&self, principal: &Principal, at: Timestamp) -> Decision {
        match self.types.parties(principal, None) {
            Ok(parties) => decided(self.ask(principal, Action::Govern, &parties, at)),
            Err(error) => denied(Cow::Owned(error.to_string())),
        }
    }

    /// Returns at the holders of which rights the policies for any of these actions may look.
    fn looks_at(&self, actions: [Option<Action>; 2]) -> [bool; RIGHTS.len()] {
        let mut all = [false; RIGHTS.len()];
        for statute in actions.into_iter().flatten().filter_map(|action| self.statute(action)) {
            all.iter_mut().zip(statute.looks_at).for_each(|(any, one)| *any |= one);
        }
        all
    }

    fn statute(&self, action: Action) -> Option<&Statute> {
        self.statutes.get(action as usize)
    }

    fn ask(
        &self,
        principal: &Principal,
        action: Action,
        parties: &Entities,
        at: Timestamp,
    ) -> std::result::Result<Cow<'static, str>, Refusal> {
        let failed = |error: Error| Refusal::Failed(Cow::Owned(error.to_string()));
        let statute = self.statute(action).ok_or(Refusal::NotPermitted)?;
        let minute = at.as_millis().div_euclid(MINUTE_MILLIS).saturating_mul(MINUTE_MILLIS);
        let now = statute.reads_time.then(|| Timestamp::from_millis(minute));
        let governs = action == Action::Govern;
        let request = self.types.request(principal, &statute.action, governs, now).map_err(failed)?;
        let named = statute.named.get(&self.types.principal(principal));
        let responses: Vec<_> = [Some(&statute.general), named]
            .into_iter()
            .flatten()
            .map(|policies| self.authorizer.is_authorized(&request, policies, parties))
            .collect();
        let mut failures = responses.iter().flat_map(|response| response.diagnostics().errors());
        if let Some(cedar_policy::AuthorizationError::PolicyEvaluationError(error)) = failures.next() {
            let rule = self.rules.get(error.policy_id()).map_or("a policy", |rule| &rule.words);
            return Err(Refusal::Failed(Cow::Owned(format!("`{rule}` cannot be evaluated: {}", error.inner()))));
        }
        // What one part forbids no other permits.
        let first = |verdict: Verdict| {
            let decided = responses.iter().filter(|response| response.decision() == verdict);
            let rules =
                decided.flat_map(|response| response.diagnostics().reason()).filter_map(|id| self.rules.get(id));
            rules.min_by_key(|rule| rule.place).map(|rule| rule.words.clone())
        };
        match (first(Verdict::Deny), first(Verdict::Allow)) {
            (Some(rule), _) => Err(Refusal::Forbidden(rule)),
            (None, Some(rule)) => Ok(rule),
            (None, None) => Err(Refusal::NotPermitted),
        }
    }
}

enum Refusal {
    /// A policy forbids it.
    Forbidden(Cow<'static, str>),
    /// No policy permits it.
    NotPermitted,
    /// What was asked for or a policy cannot be evaluated.
    Failed(Cow<'static, str>),
}

fn decided(asked: std::result::Result<Cow<'static, str>, Refusal>) -> Decision {
    match asked {
        Ok(rule) => Decision { access: Access::Full, rule },
        Err(Refusal::Forbidden(rule) | Refusal::Failed(rule)) => denied(rule),
        Err(Refusal::NotPermitted) => Decision::deny("no policy permits it"),
    }
}

fn denied(rule: Cow<'static, str>) -> Decision {
    Decision { access: Access::Denied, rule }
}

struct Compiled {
    policy: cedar_policy::Policy,
    words: Option<String>,
    looks_at: [bool; RIGHTS.len()],
    reads_time: bool,
}

/// Reads one policy and holds it against the schema.
fn read(id: &str, passage: &Passage<'_>, validator: &Validator) -> Result<Compiled> {
    let policy = cedar_policy::Policy::parse(Some(PolicyId::new(id)), passage.text)
        .map_err(|error| Error::invalid(format!("the policy that begins here cannot be read: {error}")))?;
    let refused = |message: String| Error::invalid(format!("the policy that begins here is refused: {message}"));
    let alone = PolicySet::from_policies([policy.clone()]).map_err(|error| refused(error.to_string()))?;
    let checked = validator.validate_with_level(&alone, ValidationMode::Strict, LOOKS_AT);
    let errors = checked.validation_errors().map(ToString::to_string);
    if let Some(message) = errors.chain(checked.validation_warnings().map(ToString::to_string)).next() {
        return Err(refused(message));
    }
    policy.entity_literals().iter().try_for_each(check_name).map_err(|error| refused(error.to_string()))?;
    let words =
        ["because", "id"].into_iter().filter_map(|name| policy.annotation(name)).find(|words| !words.is_empty());
    if let Some(words) = words {
        Limits::check("its `@because` or `@id`", words.len(), RULE_BYTES, "bytes")?;
        if words.chars().any(char::is_control) {
            return Err(refused(format!("`{}` has characters that cannot be shown", words.escape_debug())));
        }
    }
    let words = words.map(str::to_owned);
    // An escape could hide a name.
    let hides = passage.text.contains('\\');
    let looks_at = RIGHTS.map(|(name, _)| hides || passage.text.contains(name));
    Ok(Compiled { reads_time: speaks_of_time(passage.text), looks_at, words, policy })
}

/// Refuses a name that nobody can have.
fn check_name(named: &EntityUid) -> Result<()> {
    let name: &str = named.id().as_ref();
    match named.type_name().to_string().as_str() {
        "Principal" => match name.parse::<PrincipalId>()? {
            id if id.as_str() == name => Ok(()),
            id => Err(Error::invalid(format!("`{name}` is nobody's whole name; write `Principal::\"{id}\"`"))),
        },
        "Group" => name.parse::<GroupName>().map(drop),
        "Memory" | "Space" => Err(Error::invalid(format!(
            "`{named}` names a single one, and policies decide on all that are alike; use their attributes"
        ))),
        // Actions and layers are listed in the schema, and Cedar has held them against it.
        _ => Ok(()),
    }
}

/// Returns whether a policy may read the time. To do so it must write `now`, or hide it behind an escape.
fn speaks_of_time(text: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let alone = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| text.as_bytes().get(before));
        !before.is_some_and(|byte| named(*byte)) && !text.as_bytes().get(at + 3).is_some_and(|byte| named(*byte))
    };
    text.contains('\\') || text.match_indices("now").any(|(at, _)| alone(at))
}

impl Statute {
    fn of(action: EntityUid, compiled: &[Compiled]) -> Result<Self> {
        let concerns = |compiled: &&Compiled| match compiled.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(named) => named == action,
            ActionConstraint::In(named) => named.contains(&action),
        };
        let concerned: Vec<_> = compiled.iter().filter(concerns).collect();
        let mut looks_at = [false; RIGHTS.len()];
        let (mut general, mut named) = (PolicySet::new(), HashMap::<_, PolicySet>::new());
        for compiled in &concerned {
            let policies = match compiled.policy.principal_constraint() {
                PrincipalConstraint::Eq(who) => named.entry(who).or_default(),
                _ => &mut general,
            };
            policies.add(compiled.policy.clone()).map_err(|error| Error::invalid(error.to_string()))?;
            looks_at.iter_mut().zip(compiled.looks_at).for_each(|(any, one)| *any |= one);
        }
        let reads_time = concerned.iter().any(|compiled| compiled.reads_time);
        Ok(Self { action, general, named, looks_at, reads_time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_read_the_time_holds_for_a_minute_and_all_else_for_ever() {
        for (condition, reads) in [
            ("context.now.toTime() > duration(\"1h\")", true),
            ("context[\"now\"].toTime() > duration(\"1h\")", true),
            // An escape could hide it.
            ("context[\"n\\u{6f}w\"].toTime() > duration(\"1h\")", true),
            ("principal.roles.contains(\"knows\")", false),
            ("principal.roles.contains(\"now_and_then\")", false),
        ] {
            let text = format!("permit (principal, action == Action::\"Read\", resource) when {{ {condition} }};");
            let policies = Policies::compile(false, &text, |line| line.to_string()).unwrap();
            let minute = |operation| policies.minute(operation, Timestamp::from_millis(-1));
            assert_eq!((minute(Operation::Read), minute(Operation::Write)), (reads.then_some(-1), None), "{condition}");
        }
    }
}
