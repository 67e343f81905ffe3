//! Reads charters and decides by them. What is read says again what was written; rules without policies of their own are those
//! of the three layers, or deny everything; and what was decided once is decided so the next time.
#![no_main]

use memos_memory::cube::{Layer, PrincipalId};
use memos_memory::governance::charter::Base;
use memos_memory::governance::{AccessClass, Charter, LayerPolicy, Operation, Policy, Principal};
use memos_memory::time::Timestamp;

const OPERATIONS: [Operation; 6] =
    [Operation::Read, Operation::Write, Operation::Share, Operation::Erase, Operation::Unfreeze, Operation::Release];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = memos_fuzz::text(bytes);
    let Ok(charter) = Charter::parse(&text) else { return };
    assert_eq!(charter.text(), text);
    assert_eq!(Charter::parse(charter.text()).unwrap(), charter);
    let Ok(rules) = charter.rules() else { return };
    let charter = rules.charter();
    let ada: PrincipalId = "user:ada".parse().unwrap();
    let named = charter.members().keys().next().cloned();
    let callers = [Some(ada.clone()), named].into_iter().flatten().map(Principal::new);
    let layers = [Layer::Private, Layer::Shared("crew".parse().unwrap()), Layer::Global];
    let at = Timestamp::from_millis(1_700_000_000_000);
    for caller in callers.map(|caller| caller.in_group("crew".parse().unwrap())) {
        let known = charter.enrolled(&caller);
        for (layer, operation) in layers.iter().flat_map(|layer| OPERATIONS.map(|operation| (layer, operation))) {
            for owner in [ada.clone(), "user:bo".parse().unwrap()] {
                let grants = Vec::new();
                let class = AccessClass { layer: layer.clone(), owner, grants, sensitive: false, concealed: false };
                let decision = rules.decide(&caller, operation, &class, at);
                assert_eq!(rules.decide(&caller, operation, &class, at), decision);
                match (charter.policies().trim(), charter.base()) {
                    ("", Base::None) => assert!(!decision.shows()),
                    ("", Base::Layers) => {
                        assert_eq!(decision.access, LayerPolicy.decide(&known, operation, &class, at).access);
                    }
                    _ => {}
                }
            }
        }
        let _ = rules.decide_governing(&caller, at);
    }
});
