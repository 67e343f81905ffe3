//! Writes and reads values by the name that people use, without a string in between.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

struct Named<T>(T);

impl<T: Display> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Named)
    }
}

pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Name<T>(PhantomData<T>);
    impl<T: FromStr<Err: Display>> Visitor<'_> for Name<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a name")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Name(PhantomData))
}

pub(super) mod maybe {
    use super::{Deserialize, Deserializer, Display, FromStr, Named, Serialize, Serializer};

    pub(in crate::exchange::bundle) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Named).serialize(serializer)
    }

    pub(in crate::exchange::bundle) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<Named<T>>::deserialize(deserializer)?.map(|named| named.0))
    }
}

pub(super) mod list {
    use super::{Deserialize, Deserializer, Display, FromStr, Named, Serializer};

    pub(in crate::exchange::bundle) fn serialize<'a, C, T, S>(values: &'a C, serializer: S) -> Result<S::Ok, S::Error>
    where
        &'a C: IntoIterator<Item = &'a T>,
        T: Display + 'a,
        S: Serializer,
    {
        serializer.collect_seq(values.into_iter().map(Named))
    }

    pub(in crate::exchange::bundle) fn deserialize<'de, C, T, D>(deserializer: D) -> Result<C, D::Error>
    where
        C: FromIterator<T> + IntoIterator<Item = T>,
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let values = Vec::<Named<T>>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|named| named.0).collect())
    }
}
