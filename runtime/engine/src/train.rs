//! Teaching: a decoder's forward pass through which gradients flow, and the steps that follow them.
//!
//! The fast operations of the tensor library have no gradient, silently: a weight behind one is never taught. So this room has
//! its own, each with the gradient that it is tested to have, and never borrows from the decoder.

mod adapting;
mod batch;
mod course;
mod curve;
mod operations;
mod pupil;
mod steps;

pub use adapting::{AdapterPlan, AdapterReport, adapt};
pub use batch::Batch;
pub use course::{CoursePlan, CourseReport, small_model, teach};
pub use curve::{CurvePoint, curve_svg, thinned};
pub use pupil::{AdapterShape, MAX_RANK, Pupil};
pub use steps::Steps;

#[cfg(test)]
mod tests;
