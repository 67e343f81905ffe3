use super::super::bundle::read_bundle;
use super::super::import::OnConflict;
use super::*;
use crate::cube::{CubeDraft, Layer, Update, UpdateMode};
use crate::graph::LinkKind;
use crate::vault::{Vault, VaultOptions};

fn spaces(folder: &tempfile::TempDir) -> (Space, Space) {
    let vault = Vault::open(folder.path(), VaultOptions::builtin().unwrap()).unwrap();
    (vault.space(&"acme/from".parse().unwrap()).unwrap(), vault.space(&"acme/to".parse().unwrap()).unwrap())
}

fn who(name: &str) -> Principal {
    Principal::new(name.parse().unwrap())
}

fn bundle(space: &Space, caller: &Principal, options: ExportOptions<'_>) -> (ExportReport, Bundle) {
    let mut bytes = Vec::new();
    let report = export(space, caller, &Selection::default(), options, &mut bytes).unwrap();
    (report, read_bundle(&bytes[..], &BundleLimits::default()).unwrap())
}

fn overwrite(space: &Space, caller: &Principal, cube: CubeId, text: &str) {
    let parent = space.get(caller, &cube).unwrap().1.digest;
    let mode = UpdateMode::Overwrite(crate::cube::Payload::text(text));
    space.update(caller, Update { cube, parent, mode }).unwrap();
}

fn text(space: &Space, caller: &Principal, cube: &CubeId) -> String {
    space.get(caller, cube).unwrap().0.payload.as_text().unwrap().to_owned()
}

#[test]
fn memory_goes_over_and_back_and_nothing_happens_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = spaces(&folder);
    let (ada, bo) = (who("ada"), who("bo"));
    let remember = |text: &str| from.remember(&ada, CubeDraft::text(SemanticType::Fact, text)).unwrap();
    let (lemons, limes) = (remember("There are 12 lemons"), remember("There are 3 limes"));
    let mut batch = Batch::default();
    batch.link(Link { from: limes, kind: LinkKind::Follows, to: lemons });
    from.commit(&ada, batch).unwrap();

    let signer = BundleSigner::from_seed(&[1; 32]);
    let (report, first) = bundle(&from, &ada, ExportOptions { signer: Some(&signer), ..Default::default() });
    assert_eq!((report.cubes, report.links, first.signer), (2, 1, Some(signer.key())));
    let done = import(&to, &bo, first.clone(), ImportOptions::default()).unwrap();
    assert_eq!((done.new, done.links), (2, 1));
    assert_eq!(text(&to, &bo, &lemons), "There are 12 lemons");
    let again = import(&to, &bo, first.clone(), ImportOptions::default()).unwrap();
    assert_eq!((again.new, again.updated, again.unchanged), (0, 0, 2));

    overwrite(&from, &ada, lemons, "There are 11 lemons");
    let (_, second) = bundle(&from, &ada, ExportOptions::default());
    assert_eq!(import(&to, &bo, second.clone(), ImportOptions::default()).unwrap().updated, 1);
    assert_eq!(text(&to, &bo, &lemons), "There are 11 lemons");
    assert_eq!(import(&to, &bo, first, ImportOptions::default()).unwrap().newer_here, 1);

    overwrite(&to, &bo, lemons, "There are 9 lemons");
    overwrite(&from, &ada, lemons, "There are 10 lemons");
    let (_, third) = bundle(&from, &ada, ExportOptions::default());
    let kept = ImportOptions { on_conflict: OnConflict::KeepBoth, keep_layers: false, dry_run: false };
    let done = import(&to, &bo, third.clone(), kept).unwrap();
    let beside = done.conflicts[0].beside.unwrap();
    assert_eq!(text(&to, &bo, &beside), "There are 10 lemons");
    assert_eq!(text(&to, &bo, &lemons), "There are 9 lemons");
    assert_eq!(import(&to, &bo, third, kept).unwrap().new, 0);
    // And back: what was changed there goes on from what is here.
    overwrite(&to, &bo, limes, "There are 4 limes");
    let (_, back) = bundle(&to, &bo, ExportOptions::default());
    assert_eq!(import(&from, &ada, back, ImportOptions::default()).unwrap().updated, 1);
    assert_eq!(text(&from, &ada, &limes), "There are 4 limes");
}

#[test]
fn nothing_leaves_that_the_caller_may_not_read_or_that_is_sensitive() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = spaces(&folder);
    let (ada, bo) = (who("ada"), who("bo").with_role(crate::governance::SENSITIVE_READER));
    let remember = |text: &str, layer: Layer| {
        from.remember(&ada, CubeDraft { layer, ..CubeDraft::text(SemanticType::Fact, text) }).unwrap()
    };
    remember("A secret of Ada", Layer::Private);
    let plain = remember("The harbour opens at nine", Layer::Global);
    let address = remember("Write to cleo@example.org about it", Layer::Global);
    let by_hand = CubeDraft {
        sensitivity: [crate::governance::sensitivity::SensitivityKind::Secret].into(),
        layer: Layer::Global,
        ..CubeDraft::text(SemanticType::Fact, "The key lies under the mat")
    };
    from.remember(&ada, by_hand).unwrap();

    let mark = |text: &str| format!("{text}\u{200b}");
    let watermark = Some(Watermark { name: "ada", apply: &mark });
    for (options, expect, redacted, left_out) in [
        (ExportOptions::default(), 2, 1, 1),
        (ExportOptions { sensitive: Sensitive::LeftOut, ..Default::default() }, 1, 0, 2),
        (ExportOptions { watermark, ..Default::default() }, 2, 1, 1),
    ] {
        let (report, bundle) = bundle(&from, &bo, options);
        assert_eq!(
            (report.cubes, report.redacted, report.left_out.values().sum::<u64>()),
            (expect, redacted, left_out)
        );
        let texts: Vec<_> = bundle.cubes.iter().filter_map(|cube| cube.text.as_deref()).collect();
        assert!(texts.iter().all(|text| !text.contains("cleo@") && !text.contains("Ada") && !text.contains("mat")));
        let original = bundle.cubes.iter().find(|cube| cube.id == plain).unwrap().original;
        assert_eq!(original.is_some(), options.watermark.is_some());
    }
    let (_, marked) = bundle(&from, &bo, ExportOptions { watermark, ..Default::default() });
    assert_eq!(import(&from, &ada, marked.clone(), ImportOptions::default()).unwrap().unchanged, 1);
    let done = import(&to, &bo, marked, ImportOptions::default()).unwrap();
    assert_eq!((done.new, done.made_private), (2, 2));
    assert_eq!(text(&to, &bo, &address), "Write to [email] about it\u{200b}");
    // A later version finds the marked one that came before.
    overwrite(&from, &ada, plain, "The harbour opens at ten");
    let (_, marked) = bundle(&from, &bo, ExportOptions { watermark, ..Default::default() });
    assert_eq!(import(&to, &bo, marked, ImportOptions::default()).unwrap().updated, 1);

    let hidden = Selection { cubes: vec![plain, address], semantic: vec![SemanticType::Event], ..Default::default() };
    assert_eq!(export(&from, &bo, &hidden, ExportOptions::default(), Vec::new()).unwrap().cubes, 0);
    let stranger = Selection { cubes: vec![to.new_id()], ..Default::default() };
    assert!(export(&from, &bo, &stranger, ExportOptions::default(), Vec::new()).is_err());
}

#[test]
fn a_cube_of_somebody_else_is_neither_shown_nor_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = spaces(&folder);
    let (ada, bo, cleo) = (who("ada"), who("bo"), who("cleo"));
    let cube = from.remember(&ada, CubeDraft::text(SemanticType::Fact, "One")).unwrap();
    let (_, one) = bundle(&from, &ada, ExportOptions::default());
    for importer in [&bo, &cleo] {
        assert_eq!(import(&to, importer, one.clone(), ImportOptions::default()).unwrap().new, 1);
        assert_eq!(import(&to, importer, one.clone(), ImportOptions::default()).unwrap().unchanged, 1);
    }
    assert!(to.get(&cleo, &cube).is_err());
}
