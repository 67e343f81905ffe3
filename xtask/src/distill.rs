//! Distilling a sentence encoder into one vector for each word piece, so that the program can embed without it.
//!
//! The recipe is after Model2Vec (Tulkens and van Dongen 2024): let the encoder see each piece alone and keep the principal
//! components. Pieces are not weighed by how frequent they are in general: a question weighs its own by how rare they are
//! where it is asked, and stop words get rows of zeros. Nothing is drawn at random and nothing depends on the order of
//! threads, so the same machine makes the same bytes again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use memos_memory::embed::asset::{self, QuantisedRow};
use memos_memory::embed::{BuiltinEmbedder, Embedder};
use memos_memory::english::is_stop_word;
use nalgebra::DMatrix;
use sha2::{Digest, Sha256};

use crate::encoder::Encoder;
use crate::projection::Projection;

/// The length of the built-in embedder's vectors.
const DIMENSIONS: usize = 256;
/// So many pieces go through the encoder at a time: large enough for fast products, small enough for the cache.
const BATCH_PIECES: usize = 128;

/// Makes the asset and the projection it was made with: those of this project, or other ones for an experiment.
pub(crate) fn run(directory: &Path, out: Option<PathBuf>) -> Result<()> {
    let (out, projection_out) = match out {
        None => (shipped_asset(), shipped_projection()),
        Some(out) => {
            let mut projection_out = out.clone().into_os_string();
            projection_out.push(".projection");
            (out, projection_out.into())
        }
    };
    let encoder = Encoder::load(directory)?;
    let vocabulary = encoder.vocabulary();
    let pieces = useful_pieces(&vocabulary);
    let pooled = encode_alone(&encoder, &pieces)?;
    let projection = Projection::fit(&pooled, DIMENSIONS)?;
    let mut rows = vec![QuantisedRow::from_numbers(&[0.0; DIMENSIONS]); vocabulary.len()];
    for (piece, row) in pieces.iter().zip(distilled_rows(&pieces, &pooled, &projection)) {
        *rows.get_mut(piece.id as usize).context("a piece is not in the vocabulary")? = row;
    }
    let body = asset::body(&vocabulary, &rows)?;
    let asset = asset::seal(&body, Sha256::digest(&body).into());
    // What cannot be loaded is not written.
    let embedder = BuiltinEmbedder::from_bytes(asset.clone())?;
    fs::write(&out, &asset).with_context(|| format!("cannot write {}", out.display()))?;
    projection.write(&projection_out)?;
    println!("embedder   {}", embedder.id());
    println!("pieces     {} of {}", pieces.len(), vocabulary.len());
    println!("asset      {} ({} bytes)", out.display(), asset.len());
    println!("projection {}", projection_out.display());
    for (name, bytes) in [("encoder", fs::read(directory.join("model.safetensors"))?), ("asset", asset)] {
        let hexadecimal: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        println!("SHA-256 of the {name}: {hexadecimal}");
    }
    Ok(())
}

/// A piece that text can have.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    id: u32,
    /// Whether it tells anything of what a text is about.
    speaks: bool,
}

/// Returns the pieces that text can have; the special and unused ones, in brackets, get rows of zeros.
fn useful_pieces(vocabulary: &[&str]) -> Vec<Piece> {
    let is_useful = |piece: &str| !(piece.len() > 2 && piece.starts_with('[') && piece.ends_with(']'));
    let useful = vocabulary.iter().zip(0..).filter(|(piece, _)| is_useful(piece));
    useful.map(|(piece, id)| Piece { id, speaks: speaks(piece) }).collect()
}

/// Returns one column for each piece: what the encoder says about it alone.
fn encode_alone(encoder: &Encoder, pieces: &[Piece]) -> Result<DMatrix<f32>> {
    let style = ProgressStyle::with_template("encoding pieces {bar:40} {pos}/{len} {eta}")?;
    let progress = ProgressBar::new(pieces.len() as u64).with_style(style);
    let mut pooled = DMatrix::zeros(encoder.width(), pieces.len());
    let mut start = 0;
    for batch in pieces.chunks(BATCH_PIECES) {
        let sequences: Vec<&[u32]> = batch.iter().map(|piece| std::slice::from_ref(&piece.id)).collect();
        pooled.columns_mut(start, batch.len()).copy_from(&encoder.mean_pooled(&sequences)?);
        start += batch.len();
        progress.set_position(start as u64);
    }
    progress.finish();
    Ok(pooled)
}

/// Returns the shipped rows of pieces from what the encoder says about each alone.
fn distilled_rows(pieces: &[Piece], pooled: &DMatrix<f32>, projection: &Projection) -> Vec<QuantisedRow> {
    let projected = projection.apply(pooled);
    let weighted = projected.column_iter().zip(pieces).map(|(column, piece)| column * f32::from(piece.speaks));
    weighted.map(|row| QuantisedRow::from_numbers(row.as_slice())).collect()
}

/// Returns whether a piece says anything: a stop word or a mark tells nothing of what a text is about.
fn speaks(piece: &str) -> bool {
    piece.chars().any(char::is_alphanumeric) && !is_stop_word(piece)
}

fn shipped_asset() -> PathBuf {
    Path::new(crate::MEMORY_CRATE).join("assets/embedder.bin")
}

fn shipped_projection() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/projection.bin"))
}

#[cfg(test)]
pub(crate) mod tests {
    use memos_memory::embed::asset::Asset;

    use super::*;

    /// Returns the encoder that the environment names, or says loudly that there is none.
    pub(crate) fn encoder_for_tests() -> Option<Encoder> {
        let Some(directory) = std::env::var_os("MEMOS_ENCODER") else {
            eprintln!("SKIPPED: set MEMOS_ENCODER to the directory of all-MiniLM-L6-v2 to run this test");
            return None;
        };
        Some(Encoder::load(Path::new(&directory)).unwrap())
    }

    #[test]
    fn the_shipped_rows_come_out_again() {
        let Some(encoder) = encoder_for_tests() else { return };
        let shipped = fs::read(shipped_asset()).unwrap();
        let shipped = Asset::open(shipped.into()).unwrap();
        assert_eq!(shipped.vocabulary().unwrap(), encoder.vocabulary());
        let pieces: Vec<Piece> = useful_pieces(&encoder.vocabulary()).into_iter().step_by(97).collect();
        assert!(pieces.len() >= 300);
        let pooled = encode_alone(&encoder, &pieces).unwrap();
        let projection = Projection::read(&shipped_projection()).unwrap();
        for (piece, row) in pieces.iter().zip(distilled_rows(&pieces, &pooled, &projection)) {
            let (values, scale) = shipped.row(piece.id).unwrap();
            assert!((row.scale - scale).abs() <= scale * 1e-3, "{piece:?}: scale {scale} and now {}", row.scale);
            for (shipped, now) in values.iter().map(|value| value.cast_signed()).zip(row.values) {
                assert!(shipped.abs_diff(now) <= 1, "{piece:?}: {shipped} and now {now}");
            }
        }
    }

    #[test]
    fn special_and_unused_pieces_are_left_out() {
        let pieces = useful_pieces(&["[PAD]", "[unused0]", "[", "]", "[MASK]", "the", "##s", "boat"]);
        let expected = [(2, false), (3, false), (5, false), (6, true), (7, true)];
        assert_eq!(pieces, expected.map(|(id, speaks)| Piece { id, speaks }));
    }
}
