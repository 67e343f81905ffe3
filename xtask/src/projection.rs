//! Principal components: the few directions in which the vectors of all word pieces differ most.
//!
//! The projection is kept beside this crate, not in the shipped asset: only making and checking rows needs it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nalgebra::{DMatrix, DVector, SymmetricEigen};

/// Moves vectors to the middle of those it was made from and turns them to fewer dimensions.
#[derive(Debug, PartialEq)]
pub(crate) struct Projection {
    mean: DVector<f32>,
    /// One row for each dimension of the result, the widest first.
    basis: DMatrix<f32>,
}

impl Projection {
    /// Finds the projection for vectors in columns.
    pub(crate) fn fit(vectors: &DMatrix<f32>, dimensions: usize) -> Result<Self> {
        ensure!(dimensions <= vectors.nrows(), "the vectors have fewer than {dimensions} dimensions");
        ensure!(vectors.ncols() > 0, "there are no vectors to find a projection for");
        let vectors = vectors.map(f64::from);
        let mean = vectors.column_mean();
        let mut centred = vectors;
        centred.column_iter_mut().for_each(|mut column| column -= &mean);
        let covariance = (&centred * centred.transpose()) / centred.ncols() as f64;
        let eigen = SymmetricEigen::new(covariance);
        let mut widest: Vec<_> = eigen.eigenvalues.iter().zip(eigen.eigenvectors.column_iter()).collect();
        widest.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        let directions = widest.iter().take(dimensions).map(|(_, direction)| {
            // A direction and its opposite are equally good; one of them has to be the one.
            let sign = direction.get(direction.icamax()).map_or(1.0, |largest| largest.signum());
            (direction.transpose() * sign).map(|number| number as f32)
        });
        let basis = DMatrix::from_rows(&directions.collect::<Vec<_>>());
        Ok(Self { mean: mean.map(|number| number as f32), basis })
    }

    /// Projects vectors in columns.
    pub(crate) fn apply(&self, vectors: &DMatrix<f32>) -> DMatrix<f32> {
        let mut centred = vectors.clone();
        centred.column_iter_mut().for_each(|mut column| column -= &self.mean);
        &self.basis * centred
    }

    /// Writes the projection: two u32 for the shape of the basis, the mean, then the basis by columns, as f32, all
    /// little-endian.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut bytes = Vec::new();
        for size in [self.basis.nrows(), self.basis.ncols()] {
            bytes.extend(u32::try_from(size)?.to_le_bytes());
        }
        bytes.extend(self.mean.iter().chain(self.basis.iter()).flat_map(|number| number.to_le_bytes()));
        fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads what [`Projection::write`] has written; only checking shipped rows needs it.
    #[cfg(test)]
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (words, rest) = bytes.as_chunks::<4>();
        let damaged = || format!("{} is damaged, make it again with distill", path.display());
        let ([rows, columns], numbers) = words.split_first_chunk().with_context(damaged)?;
        let (rows, columns) = (u32::from_le_bytes(*rows) as usize, u32::from_le_bytes(*columns) as usize);
        let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let (mean, basis) = numbers.split_at_checked(columns).with_context(damaged)?;
        ensure!(rest.is_empty() && rows.checked_mul(columns) == Some(basis.len()), damaged());
        Ok(Self { mean: DVector::from_column_slice(mean), basis: DMatrix::from_column_slice(rows, columns, basis) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_direction_comes_first_and_the_middle_is_zero() {
        let vectors = DMatrix::from_columns(&[
            DVector::from_vec(vec![1.0, 5.0, 2.0]),
            DVector::from_vec(vec![1.0, -3.0, 2.0]),
            DVector::from_vec(vec![1.5, 1.0, 2.0]),
            DVector::from_vec(vec![0.5, 1.0, 2.0]),
        ]);
        let projected = Projection::fit(&vectors, 2).unwrap().apply(&vectors);
        let expected = [[4.0, 0.0], [-4.0, 0.0], [0.0, 0.5], [0.0, -0.5]];
        for (column, expected) in projected.column_iter().zip(expected) {
            assert!(column.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{column}");
        }
        assert!(Projection::fit(&vectors, 4).is_err());
        assert!(Projection::fit(&DMatrix::zeros(3, 0), 2).is_err());
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_noticed() {
        let path = std::env::temp_dir().join(format!("memos-projection-{}.bin", std::process::id()));
        let vectors = DMatrix::from_fn(4, 9, |row, column| ((row * 7 + column * column) % 11) as f32);
        let projection = Projection::fit(&vectors, 3).unwrap();
        projection.write(&path).unwrap();
        assert_eq!(Projection::read(&path).unwrap(), projection);
        let bytes = fs::read(&path).unwrap();
        for length in [0, 7, 9, 20, bytes.len() - 4, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(Projection::read(&path).is_err(), "{length} bytes");
        }
        fs::remove_file(&path).unwrap();
    }
}
