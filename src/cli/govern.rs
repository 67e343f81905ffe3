//! `memos hold`, `memos share` and `memos keep`: who may use a memory, and how long it stays.
//!
//! With `--json`:
//! `{"space": "home/main", "cube": "…", "version": 2, "changed": true, "governance": {…}}` with the fields of
//! [`memos::cube::Governance`]. A change that changes nothing makes no version.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use memos::cube::{
    CubeId, Governance, GovernanceChange, Grant, Grantee, Layer, Lifespan, Priority, Rights, SpaceName, Update,
    UpdateMode,
};
use memos::{Error, Result};
use serde::Serialize;

use super::ids::{find, short};
use super::scope::Scope;
use super::screen::{NAME, Screen, paint};

#[derive(Args)]
pub(super) struct HoldArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
    /// End the hold; only a custodian may
    #[arg(long)]
    release: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true)))]
pub(super) struct ShareArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
    /// Who may read it: `private`, `shared:GROUP` or `global`
    #[arg(long, group = "change")]
    layer: Option<Layer>,
    /// Rights beyond that, in place of those there are: `user:NAME:RIGHTS`, `agent:NAME:RIGHTS` or `group:NAME:RIGHTS`,
    /// where the rights are of `r` read, `w` write and `s` share; may be repeated
    #[arg(long, value_name = "WHO:RIGHTS", group = "change", value_parser = grant)]
    grant: Vec<Grant>,
    /// Take all rights beyond the layer's away
    #[arg(long, group = "change", conflicts_with = "grant")]
    no_grants: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true)))]
pub(super) struct KeepArguments {
    /// The memory's id, or a beginning or end of it
    id: String,
    /// How long it is kept after it was made, such as `90d`, `12h` or `30m`
    #[arg(long = "for", value_name = "TIME", group = "change", conflicts_with_all = ["half_life", "forever"], value_parser = millis)]
    time: Option<u64>,
    /// In which time its weight falls to half without use
    #[arg(long, value_name = "TIME", group = "change", conflicts_with = "forever", value_parser = millis)]
    half_life: Option<u64>,
    /// Keep it until somebody decides otherwise
    #[arg(long, group = "change")]
    forever: bool,
    /// How much it matters
    #[arg(long, group = "change", value_parser = priorities())]
    priority: Option<Priority>,
}

fn priorities() -> impl TypedValueParser<Value = Priority> {
    PossibleValuesParser::new(Priority::ALL.iter().map(|priority| priority.as_str()))
        .try_map(|name| name.parse::<Priority>())
}

/// Reads a length of time, in milliseconds.
pub(super) fn millis(text: &str) -> Result<u64> {
    let refused = || Error::invalid(format!("`{text}` is no length of time; write it like `90d`, `12h` or `30m`"));
    let unit = text.chars().next_back().ok_or_else(refused)?;
    let factor = match unit {
        'd' => 24 * 3_600_000,
        'h' => 3_600_000,
        'm' => 60_000,
        _ => return Err(refused()),
    };
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(refused)?;
    number.checked_mul(factor).ok_or_else(refused)
}

/// Reads a grant as it is typed.
fn grant(text: &str) -> Result<Grant> {
    let refused = || Error::invalid(format!("`{text}` is no grant; write it like `user:bo:rw` or `group:kitchen:r`"));
    let (who, letters) = text.rsplit_once(':').ok_or_else(refused)?;
    let mut rights = Rights::default();
    for letter in letters.chars() {
        match letter {
            'r' => rights.read = true,
            'w' => rights.write = true,
            's' => rights.share = true,
            _ => return Err(refused()),
        }
    }
    if rights == Rights::default() {
        return Err(refused());
    }
    let to = match who.split_once(':') {
        Some(("group", name)) => Grantee::Group(name.parse()?),
        Some(("user" | "agent", _)) => Grantee::Principal(who.parse()?),
        _ => return Err(refused()),
    };
    Ok(Grant { to, rights })
}

/// Returns a grant as it is typed.
pub(super) fn grant_text(grant: &Grant) -> String {
    let letters = [(grant.rights.read, 'r'), (grant.rights.write, 'w'), (grant.rights.share, 's')];
    let letters: String = letters.iter().filter(|(given, _)| *given).map(|(_, letter)| letter).collect();
    match &grant.to {
        Grantee::Principal(who) => format!("{who}:{letters}"),
        Grantee::Group(group) => format!("group:{group}:{letters}"),
    }
}

#[derive(Serialize)]
struct Governed<'a> {
    space: &'a SpaceName,
    cube: CubeId,
    version: u32,
    changed: bool,
    governance: &'a Governance,
}

pub(super) fn hold(arguments: &HoldArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let change = GovernanceChange { legal_hold: Some(!arguments.release), ..GovernanceChange::default() };
    govern(&arguments.id, change, scope, screen)
}

pub(super) fn share(arguments: ShareArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let replaced = arguments.no_grants || !arguments.grant.is_empty();
    let grants = replaced.then_some(arguments.grant);
    let change = GovernanceChange { layer: arguments.layer, grants, ..GovernanceChange::default() };
    govern(&arguments.id, change, scope, screen)
}

pub(super) fn keep(arguments: &KeepArguments, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let lifespan = match (arguments.time, arguments.half_life) {
        (Some(millis), _) => Some(Lifespan::TimeToLiveMillis(millis)),
        (None, Some(millis)) => Some(Lifespan::HalfLifeMillis(millis)),
        (None, None) => arguments.forever.then_some(Lifespan::Forever),
    };
    let change = GovernanceChange { lifespan, priority: arguments.priority, ..GovernanceChange::default() };
    govern(&arguments.id, change, scope, screen)
}

/// Makes the version in which others may use a memory, or it is kept otherwise.
fn govern(id: &str, change: GovernanceChange, scope: &Scope, screen: &mut Screen) -> Result<()> {
    let space = scope.space()?;
    let id = find(&space, &scope.caller, id)?;
    let (cube, head) = space.get(&scope.caller, &id)?;
    let changed = differs(&cube.header.governance, &change);
    if changed {
        let mode = UpdateMode::Govern(Box::new(change));
        space.update(&scope.caller, Update { cube: id, parent: head.digest, mode })?;
    }
    let (cube, head) = space.get(&scope.caller, &id)?;
    let governance = &cube.header.governance;
    if screen.json {
        return screen.object(&Governed { space: space.name(), cube: id, version: head.version, changed, governance });
    }
    let grants: Vec<String> = governance.grants.iter().map(grant_text).collect();
    let mut says = vec![governance.layer.to_string(), format!("owned by {}", governance.owner)];
    says.extend((!grants.is_empty()).then(|| format!("granted to {}", grants.join(", "))));
    says.push(format!("kept {}", lifespan_text(governance.lifespan)));
    says.push(format!("priority {}", governance.priority));
    says.extend(governance.legal_hold.then(|| "under legal hold".to_owned()));
    let lead = if changed { "is now" } else { "was already" };
    screen.line(format!("{} {lead} {}", paint(NAME, short(&id)), says.join(", ")));
    Ok(())
}

fn differs(now: &Governance, change: &GovernanceChange) -> bool {
    let GovernanceChange { layer, grants, lifespan, legal_hold, priority } = change;
    layer.as_ref().is_some_and(|layer| *layer != now.layer)
        || grants.as_ref().is_some_and(|grants| *grants != now.grants)
        || lifespan.is_some_and(|lifespan| lifespan != now.lifespan)
        || legal_hold.is_some_and(|hold| hold != now.legal_hold)
        || priority.is_some_and(|priority| priority != now.priority)
}

/// Returns in words how long something is kept.
pub(super) fn lifespan_text(lifespan: Lifespan) -> String {
    let span = |millis: u64| {
        let (hours, minutes) = (millis / 3_600_000, millis / 60_000);
        match (hours % 24, hours) {
            (0, 24..) => format!("{} days", hours / 24),
            (_, 1..) => format!("{hours} hours"),
            _ => format!("{minutes} minutes"),
        }
    };
    match lifespan {
        Lifespan::Forever => "forever".to_owned(),
        Lifespan::TimeToLiveMillis(millis) => format!("for {}", span(millis)),
        Lifespan::HalfLifeMillis(millis) => format!("with a half-life of {}", span(millis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_and_lengths_of_time_read_as_they_are_written() {
        for (text, expect) in [
            ("user:bo:rw", Some("user:bo:rw")),
            ("group:kitchen:r", Some("group:kitchen:r")),
            ("agent:cook:swr", Some("agent:cook:rws")),
            ("user:bo", None),
            ("user:bo:", None),
            ("user:bo:x", None),
            ("kitchen:r", None),
        ] {
            assert_eq!(grant(text).ok().map(|grant| grant_text(&grant)).as_deref(), expect, "{text}");
        }
        for (text, expect) in [
            ("90d", Some("for 90 days")),
            ("36h", Some("for 36 hours")),
            ("5m", Some("for 5 minutes")),
            ("0m", Some("for 0 minutes")),
            ("", None),
            ("d", None),
            ("-1d", None),
            ("3é", None),
            ("99999999999999999999d", None),
            ("18446744073709551615h", None),
        ] {
            let read = millis(text).ok().map(|millis| lifespan_text(Lifespan::TimeToLiveMillis(millis)));
            assert_eq!(read.as_deref(), expect, "{text}");
        }
    }
}
