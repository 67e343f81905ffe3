use candle_core::{DType, Device, Tensor, Var};

use crate::adapter::{Adapter, AdapterMix, Target};
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::dice::Dice;
use crate::lesson::{Control, Row, RowShape, Rows, Teaching, WordPool};
use crate::numbers::Precision;
use crate::small_model::{small_config, small_weights};
use crate::weights::{Weight, Weights};

use super::operations::{adapted, attention, frozen, gated, rms_norm, surprise, turn};
use super::{AdapterPlan, AdapterShape, Batch, CoursePlan, Pupil, adapt, teach};

fn random(dice: &mut Dice, shape: &[usize]) -> Tensor {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| dice.normal() as f32).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

/// Holds a gradient against the difference that a small change makes, in each direction of some.
fn check_gradient(shape: &[usize], of: impl Fn(&Tensor) -> Tensor) {
    let mut dice = Dice::new(3);
    let x = Var::from_tensor(&random(&mut dice, shape)).unwrap();
    let weights = random(&mut dice, of(&x).dims());
    let value = |x: &Tensor| (of(x) * &weights).unwrap().sum_all().unwrap();
    let gradients = value(&x).backward().unwrap();
    let gradient = gradients.get(&x).expect("the operation has a gradient");
    for _ in 0..8 {
        let direction = random(&mut dice, shape);
        let step = (&direction * 1e-2).unwrap();
        let difference = (value(&(x.as_tensor() + &step).unwrap()) - value(&(x.as_tensor() - &step).unwrap())).unwrap();
        let measured = difference.to_scalar::<f32>().unwrap() / 2e-2;
        let expected = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        assert!((measured - expected).abs() < 2e-2 * expected.abs().max(1.0), "{measured} is not {expected}");
    }
}

#[test]
fn each_operation_has_the_gradient_of_what_it_does() {
    let mut dice = Dice::new(1);
    let mask: Vec<f32> =
        (0..2 * 3 * 4).map(|place| if place % 4 > 0 && dice.happens(0.3) { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (2, 1, 3, 4), &Device::Cpu).unwrap();
    // Two heads of queries for each of keys.
    let [query, keys, values] = [[2, 2, 6, 5], [2, 2, 4, 5], [2, 2, 4, 5]].map(|shape| random(&mut dice, &shape));
    check_gradient(&[2, 2, 6, 5], |x| attention(x, &keys, &values, &mask).unwrap());
    check_gradient(&[2, 2, 4, 5], |x| attention(&query, x, &values, &mask).unwrap());
    check_gradient(&[2, 2, 4, 5], |x| attention(&query, &keys, x, &mask).unwrap());
    let weight = random(&mut dice, &[6]);
    check_gradient(&[5, 6], |x| rms_norm(x, &weight, 1e-5).unwrap());
    let angles = random(&mut dice, &[2, 3, 2]);
    let (cosines, sines) = (angles.cos().unwrap(), angles.sin().unwrap());
    check_gradient(&[2, 3, 2, 4], |x| turn(x, &cosines, &sines).unwrap());
    let other = random(&mut dice, &[5, 6]);
    check_gradient(&[5, 6], |x| gated(x, &other).unwrap());
    check_gradient(&[5, 6], |x| gated(&other, x).unwrap());
    let [weight, a, b] = [[4, 6], [2, 6], [4, 2]].map(|shape| random(&mut dice, &shape));
    check_gradient(&[5, 6], |x| frozen(x, &weight).unwrap());
    check_gradient(&[5, 6], |x| adapted(x, &weight, &a, &b, 0.5).unwrap());
    check_gradient(&[2, 6], |a| adapted(&other, &weight, a, &b, 0.5).unwrap());
    check_gradient(&[4, 2], |b| adapted(&other, &weight, &a, b, 0.5).unwrap());
    let shares = candle_nn::ops::softmax(&random(&mut dice, &[5, 4]), 1).unwrap();
    check_gradient(&[5, 6], |x| surprise(x, &weight, &shares).unwrap());
}

#[test]
fn a_layer_with_a_change_is_the_layer_and_the_change() {
    let mut dice = Dice::new(6);
    let [x, weight, a, b] = [[5, 6], [4, 6], [2, 6], [4, 2]].map(|shape| random(&mut dice, &shape));
    let plain = x.matmul(&weight.t().unwrap()).unwrap();
    let change = (x.matmul(&a.t().unwrap()).unwrap().matmul(&b.t().unwrap()).unwrap() * 0.5).unwrap();
    for (ours, expected) in [
        (frozen(&x, &weight).unwrap(), plain.clone()),
        (adapted(&x, &weight, &a, &b, 0.5).unwrap(), (plain + change).unwrap()),
        (gated(&x, &x).unwrap(), (x.silu().unwrap() * &x).unwrap()),
    ] {
        let off = (ours - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(off < 1e-5, "{off}");
    }
}

#[test]
fn surprise_at_one_token_is_what_the_library_says() {
    let mut dice = Dice::new(7);
    let logits = (random(&mut dice, &[5, 6]) * 9.0).unwrap();
    let targets = Tensor::new(&[0u32, 3, 5, 1, 1], &Device::Cpu).unwrap();
    let theirs = candle_nn::loss::cross_entropy(&logits, &targets).unwrap().to_scalar::<f32>().unwrap();
    let shares = candle_nn::encoding::one_hot(targets, 6, 1f32, 0f32).unwrap();
    let head = Tensor::eye(6, DType::F32, &Device::Cpu).unwrap();
    let ours = surprise(&logits, &head, &shares).unwrap().to_scalar::<f32>().unwrap();
    assert!((ours - theirs).abs() < 1e-5, "{ours} {theirs}");
}

#[test]
fn softmax_gives_what_the_library_gives_and_nothing_to_what_is_hidden() {
    let mut dice = Dice::new(2);
    let query = random(&mut dice, &[1, 1, 6, 4]);
    let keys = (random(&mut dice, &[1, 1, 9, 4]) * 20.0).unwrap();
    let mask: Vec<f32> = (0..27).map(|place| if place % 9 > 5 { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (1, 1, 3, 9), &Device::Cpu).unwrap();
    // Values that name their place show how much each counts.
    let values = Tensor::eye(9, DType::F32, &Device::Cpu).unwrap().reshape((1, 1, 9, 9)).unwrap();
    let ours = attention(&query, &keys, &values, &mask).unwrap().reshape((1, 2, 3, 9)).unwrap();
    let scores = query.matmul(&keys.t().unwrap()).unwrap().reshape((1, 2, 3, 9)).unwrap();
    let theirs = candle_nn::ops::softmax(&(scores * 0.5).unwrap().broadcast_add(&mask).unwrap(), 3).unwrap();
    let off = (&ours - theirs).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(off < 1e-6, "{off}");
    assert_eq!(ours.narrow(3, 6, 3).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
}

fn some_rows(count: usize) -> Vec<Row> {
    let rows = Rows::small().unwrap();
    let mut dice = Dice::new(4);
    let shape = RowShape { facts: 3, questions: 2, not_known: 0.5, is_apart: false, pool: WordPool::Taught };
    (0..count).map(|_| rows.recall(&mut dice, &shape).unwrap()).collect()
}

fn tiny() -> ModelConfig {
    let vocabulary = Rows::small().unwrap().vocabulary();
    ModelConfig { vocabulary, positions: 4096, ..small_config() }
}

#[test]
fn every_weight_of_a_pupil_is_taught() {
    let pupil = Pupil::new(tiny(), 1).unwrap();
    let batch = Batch::new(&some_rows(2), pupil.rope(), Control::Padding.token()).unwrap();
    let gradients = batch.loss(&pupil.read(&batch).unwrap()).unwrap().backward().unwrap();
    for variable in pupil.variables() {
        let gradient = gradients.get(&variable).expect("a gradient");
        assert!(gradient.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.0);
    }
}

/// Two forward passes of different making are one model: in each family that the decoder knows, with an adapter or none.
#[test]
fn what_a_pupil_reads_a_decoder_reads_too() {
    let families = [
        tiny(),
        ModelConfig { has_query_bias: true, is_tied: false, ..tiny() },
        ModelConfig { has_head_norm: true, ..tiny() },
    ];
    for config in families {
        let weights = small_weights(&config, 5);
        let weights = Weights::new(weights.into_iter().map(|(name, tensor)| (name, Weight::Plain(tensor))).collect());
        let shape = AdapterShape { rank: 2, targets: Target::ALL.to_vec(), ..AdapterShape::default() };
        let pupil = Pupil::with_adapter(config.clone(), &weights, &shape).unwrap();
        let mut dice = Dice::new(6);
        for variable in pupil.variables() {
            variable.set(&(random(&mut dice, variable.dims()) * 0.1).unwrap()).unwrap();
        }
        let adapter = Adapter::new(&config, shape.scale(), &pupil.changes().unwrap()).unwrap();
        let mix = AdapterMix::one(adapter.into());
        let decoder = Decoder::new(config, &weights, &Device::Cpu).unwrap();
        for row in some_rows(2) {
            let expected = {
                let batch = Batch::new(std::slice::from_ref(&row), pupil.rope(), Control::Padding.token()).unwrap();
                pupil.read(&batch).unwrap()
            };
            // The first question alone: the others would stand at the same places.
            let told = row.groups.iter().filter(|group| **group >= 0).count();
            let first = row.groups.iter().filter(|group| **group == -1).count();
            let (memory, question) = row.tokens.split_at(told);
            let mut cache = decoder.cache();
            decoder.fill(memory, &mut cache, &AdapterMix::default()).unwrap();
            let logits = decoder.read_all(&question[..first], &mut cache, &mix).unwrap();
            for (number, (place, _)) in row.targets.iter().take(row.answers[0].count).enumerate() {
                let ours = expected.get(number).unwrap();
                let theirs = logits.get(place - told).unwrap();
                let off = (ours - theirs).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(off < 1e-4, "{off}");
            }
        }
    }
}

#[test]
fn padding_and_company_change_nothing() {
    let pupil = Pupil::new(tiny(), 7).unwrap();
    let rows = some_rows(3);
    let all = pupil.read(&Batch::new(&rows, pupil.rope(), 0).unwrap()).unwrap();
    let mut begin = 0;
    for row in &rows {
        let alone = pupil.read(&Batch::new(std::slice::from_ref(row), pupil.rope(), 9).unwrap()).unwrap();
        let count = alone.dim(0).unwrap();
        let off = (all.narrow(0, begin, count).unwrap() - alone).unwrap();
        let off = off.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(off < 1e-4, "{off}");
        begin += count;
    }
}

/// The whole program that makes the weights, but for its length: after a few steps it is less surprised than by chance, and
/// its weights can be read again.
#[test]
fn a_short_course_teaches_a_little_and_is_the_same_every_time() {
    let plan = CoursePlan { steps: 12, rows: 2, questions: 2, ..CoursePlan::default() };
    let course = || {
        let mut losses = Vec::new();
        let pupil = teach(&plan, |_, report| {
            losses.push(report.loss);
            Ok(())
        });
        (pupil.unwrap(), losses)
    };
    let (pupil, losses) = course();
    assert!(losses[11] < losses[0] - 0.2, "{losses:?}");
    assert_eq!(losses, course().1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    pupil.save(&path, Precision::F32).unwrap();
    let again = Pupil::new(pupil.config().clone(), 99).unwrap();
    again.restore(&path).unwrap();
    let batch = Batch::new(&some_rows(1), pupil.rope(), 0).unwrap();
    let [one, other] = [&pupil, &again].map(|pupil| pupil.read(&batch).unwrap().to_vec2::<f32>().unwrap());
    assert_eq!(one, other);
}

#[test]
fn an_adapter_that_was_not_taught_changes_nothing_and_is_taught_from_there() {
    let model = crate::model::Model::small().unwrap();
    let rows = model.rows();
    let facts = ["Mira lives in Oslo.", "Bo owns a kayak."].map(|s| crate::lesson::Fact::read(s).unwrap());
    let teaching = Teaching::new(&rows, facts.to_vec()).unwrap();
    let shape = AdapterShape { rank: 4, ..AdapterShape::default() };
    let pupil = Pupil::with_adapter(model.decoder().config().clone(), model.weights(), &shape).unwrap();
    let adapter = |pupil: &Pupil| {
        let adapter = Adapter::new(pupil.config(), shape.scale(), &pupil.changes().unwrap()).unwrap();
        AdapterMix::one(adapter.into())
    };
    let ask = |mix: AdapterMix| model.ask(Vec::new(), "Where does Mira live?", mix, 24).unwrap();
    let before = ask(AdapterMix::default());
    assert_eq!(ask(adapter(&pupil)), before);
    let plan = AdapterPlan { steps: 12, rows: 2, ..AdapterPlan::default() };
    let mut first = None;
    let last = adapt(
        &pupil,
        &plan,
        |dice| teaching.row(dice),
        |_, report| {
            first.get_or_insert(report.loss);
            Ok(true)
        },
    );
    assert!(last.unwrap().loss < first.unwrap());
    assert_ne!(
        pupil.changes().unwrap()[&(0, Target::Up)].b.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap(),
        0.0
    );
    // Without it, the model is as it was.
    assert_eq!(ask(AdapterMix::default()), before);
}
