//! What the index takes in of a cube: facets to filter by, a quantised vector, and terms.

use super::filter::ClassId;
use crate::cube::SemanticType;
use crate::error::{Error, Result};
use crate::time::{Timestamp, Window};

/// A cube's present version as the index sees it.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it can be filtered by.
    pub facets: Facets,
    /// Its embedding.
    pub vector: QuantizedVector,
    /// Its terms with how often each occurs, in any order.
    pub terms: Vec<(String, u16)>,
    /// How many words it has, for BM25's length.
    pub length: u32,
}

/// What a cube can be filtered by.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Facets {
    /// Who may read it.
    pub class: ClassId,
    /// What sort of statement it is.
    #[serde(with = "semantic_code")]
    pub semantic: SemanticType,
    /// When it was said or seen.
    pub observed: Timestamp,
    /// When it is true.
    pub valid: Window,
    /// Whether it is recalled on request only.
    pub archived: bool,
    /// Whether its state keeps it out of every recall; it is kept for when the state is taken back.
    pub withheld: bool,
}

mod semantic_code {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::cube::SemanticType;

    pub(super) fn serialize<S: Serializer>(value: &SemanticType, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(value.code())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SemanticType, D::Error> {
        SemanticType::from_code(u8::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A vector as eight-bit numbers and one scale: number × scale gives back the value.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedVector {
    /// The value of one step.
    pub scale: f32,
    /// The steps, from -127 to 127, as signed bytes.
    pub values: Vec<u8>,
}

impl QuantizedVector {
    /// Rounds a vector to eight bits a number.
    pub fn of(vector: &[f32]) -> Self {
        let largest = vector.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        if largest == 0.0 || !largest.is_finite() {
            return Self { scale: 0.0, values: vec![0; vector.len()] };
        }
        let scale = largest / 127.0;
        Self { scale, values: vector.iter().map(|value| ((value / scale).round() as i8).cast_unsigned()).collect() }
    }

    /// Writes it as the scale's four little-endian bytes and one byte a number.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.scale.to_le_bytes().into_iter().chain(self.values.iter().copied()).collect()
    }

    /// Reads what [`QuantizedVector::to_bytes`] wrote.
    ///
    /// # Errors
    /// `Corrupt` when there are not `dimensions` numbers, or the scale is not a number.
    pub fn from_bytes(bytes: &[u8], dimensions: usize) -> Result<Self> {
        let unreadable = || Error::corrupt("a stored vector cannot be read");
        let (scale, values) = bytes.split_first_chunk::<4>().ok_or_else(unreadable)?;
        let scale = f32::from_le_bytes(*scale);
        if values.len() != dimensions || !scale.is_finite() {
            return Err(unreadable());
        }
        Ok(Self { scale, values: values.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_survive_rounding_and_storing() {
        let vector = [0.5, -1.0, 0.25, 0.0];
        let rounded = QuantizedVector::of(&vector);
        for (value, expect) in rounded.values.iter().zip(vector) {
            assert!((f32::from(value.cast_signed()) * rounded.scale - expect).abs() <= rounded.scale / 2.0);
        }
        assert_eq!(QuantizedVector::from_bytes(&rounded.to_bytes(), 4).unwrap(), rounded);
        assert!(QuantizedVector::from_bytes(&rounded.to_bytes(), 5).is_err());
        assert_eq!(QuantizedVector::of(&[0.0; 3]).scale, 0.0);
    }
}
