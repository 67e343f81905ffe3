//! A decision that is asked for, in Cedar's words: who, what, on which memory, in which setting.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value,
};

use crate::cube::{Grantee, Layer, Rights};
use crate::error::{Error, Result};
use crate::governance::{AccessClass, CallingContext, Principal};
use crate::time::Timestamp;

/// Tells whether rights hold the one that is asked for.
pub(super) type Right = fn(&Rights) -> bool;

/// What those are called who have a right by a grant.
pub(super) const RIGHTS: [(&str, Right); 3] =
    [("reader", |rights| rights.read), ("writer", |rights| rights.write), ("sharer", |rights| rights.share)];

/// The types of the schema. Reading a name is a parse, so it is done once.
pub(super) struct Types {
    principal: EntityTypeName,
    group: EntityTypeName,
    layer: EntityTypeName,
    memory: EntityUid,
    space: EntityUid,
}

impl Types {
    pub(super) fn new() -> Result<Self> {
        let one = |name: &str| Ok(uid(&type_name(name)?, "this"));
        Ok(Self {
            principal: type_name("Principal")?,
            group: type_name("Group")?,
            layer: type_name("Layer")?,
            memory: one("Memory")?,
            space: one("Space")?,
        })
    }

    /// Returns who acts.
    pub(super) fn principal(&self, principal: &Principal) -> EntityUid {
        uid(&self.principal, principal.id.as_str())
    }

    /// Returns who acts and on which memory, with all that policies may look at: who has a right by a grant where `looks_at`
    /// says so.
    pub(super) fn parties(
        &self,
        principal: &Principal,
        class: Option<(&AccessClass, [bool; RIGHTS.len()])>,
    ) -> Result<Entities> {
        let mut parties = Vec::with_capacity(2);
        let attributes = HashMap::from([
            ("agent".to_owned(), Value::new_bool(principal.id.as_str().starts_with("agent:"))),
            ("roles".to_owned(), Value::new_set(principal.roles.iter().cloned().map(Value::new_string))),
        ]);
        let groups: HashSet<_> = principal.groups.iter().map(|group| uid(&self.group, group.as_str())).collect();
        parties.push(Entity::new(self.principal(principal), attributes, groups).map_err(unasked)?);
        if let Some((class, looks_at)) = class {
            let attributes = self.attributes(class, looks_at);
            parties.push(Entity::new(self.memory.clone(), attributes, HashSet::new()).map_err(unasked)?);
        }
        Entities::from_entities(parties, None).map_err(unasked)
    }

    fn attributes(&self, class: &AccessClass, looks_at: [bool; RIGHTS.len()]) -> HashMap<String, Value> {
        let (layer, group) = match &class.layer {
            Layer::Private => ("private", None),
            Layer::Shared(group) => ("shared", Some(group)),
            Layer::Global => ("global", None),
        };
        let mut attributes = HashMap::from([
            ("layer".to_owned(), Value::new_entity_uid(uid(&self.layer, layer))),
            ("owner".to_owned(), Value::new_entity_uid(uid(&self.principal, class.owner.as_str()))),
            ("sensitive".to_owned(), Value::new_bool(class.sensitive)),
            ("concealed".to_owned(), Value::new_bool(class.concealed)),
        ]);
        for (name, right) in RIGHTS.into_iter().zip(looks_at).filter_map(|(right, looks)| looks.then_some(right)) {
            let (mut principals, mut groups) = (Vec::new(), Vec::new());
            for grant in class.grants.iter().filter(|grant| right(&grant.rights)) {
                match &grant.to {
                    Grantee::Principal(id) => principals.push(Value::new_entity_uid(uid(&self.principal, id.as_str()))),
                    Grantee::Group(group) => groups.push(Value::new_entity_uid(uid(&self.group, group.as_str()))),
                }
            }
            attributes.insert(format!("{name}s"), Value::new_set(principals));
            attributes.insert(format!("{name}_groups"), Value::new_set(groups));
        }
        if let Some(group) = group {
            attributes.insert("group".to_owned(), Value::new_entity_uid(uid(&self.group, group.as_str())));
        }
        attributes
    }

    /// Returns the request to do something with the memory, or with the space where `governs`.
    pub(super) fn request(
        &self,
        principal: &Principal,
        action: &EntityUid,
        governs: bool,
        now: Option<Timestamp>,
    ) -> Result<Request> {
        let resource = if governs { &self.space } else { &self.memory };
        let setting = Context::from_pairs(setting(&principal.context, now)).map_err(unasked)?;
        Request::new(self.principal(principal), action.clone(), resource.clone(), setting, None).map_err(unasked)
    }
}

fn setting(context: &CallingContext, now: Option<Timestamp>) -> Vec<(String, Value)> {
    let texts = [
        ("purpose", &context.purpose),
        ("task", &context.task),
        ("session", &context.session),
        ("model", &context.model),
    ];
    let mut pairs: Vec<_> = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), Value::new_string(text.clone()?))))
        .collect();
    // Cedar writes years with four digits; what lies beyond is taken as the last minute that can be written.
    let written =
        |now: Timestamp| now.max(Timestamp::from_millis(EARLIEST)).min(Timestamp::from_millis(LATEST)).to_string();
    pairs.extend(now.map(|now| ("now".to_owned(), Value::new_datetime(written(now)))));
    pairs
}

/// 0000-01-01T00:00:00Z and 9999-12-30T00:00:00Z, in milliseconds since the epoch.
const EARLIEST: i64 = -62_167_219_200_000;
const LATEST: i64 = 253_402_128_000_000;

/// Reads the name of a type of the schema.
pub(super) fn type_name(name: &str) -> Result<EntityTypeName> {
    name.parse().map_err(unasked)
}

/// Names one thing of a type.
pub(super) fn uid(kind: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(name))
}

fn unasked(error: impl std::fmt::Display) -> Error {
    Error::invalid(format!("the decision cannot be asked of the policies: {error}"))
}
