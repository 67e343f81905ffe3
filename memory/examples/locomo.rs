use memos_memory::{
    cube::*,
    governance::*,
    operator::*,
    reader::{self, source::*},
    time::*,
    vault::*,
};
fn main() {
    let file = std::env::args().nth(1).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let source = read_source("locomo.json", &bytes, Some(Format::Locomo), &SourceLimits::default()).unwrap();
    let samples = read_locomo_questions(&bytes).unwrap();
    let me = Principal::new("me".parse().unwrap());
    let mut all: Vec<(u8, [f64; 4])> = vec![];
    let mut ms = vec![];
    let mut per = vec![];
    let dump = std::env::args().nth(2).is_some();
    for (part, sample) in source.parts.iter().zip(&samples) {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), VaultOptions::builtin().unwrap()).unwrap();
        let space = vault.space(&"bench/locomo".parse().unwrap()).unwrap();
        let one = Source { name: source.name.clone(), format: source.format, parts: vec![part.clone()] };
        let t = std::time::Instant::now();
        let report = reader::ingest(&space, &me, &one, &Default::default(), &mut |_, _| {}).unwrap();
        eprintln!("{report:?} {:?}", t.elapsed());
        let Part::Conversation(c) = part else { panic!() };
        let known: std::collections::HashSet<_> =
            c.sessions.iter().flat_map(|s| &s.turns).filter_map(|t| t.reference.clone()).collect();
        let from = all.len();
        for q in &sample.questions {
            let evidence: Vec<_> = q.evidence.iter().filter(|e| known.contains(*e)).collect();
            if evidence.is_empty() {
                continue;
            }
            let mut call = MemoryCall::new(me.clone(), q.question.clone(), space.now());
            call.memories = 50;
            call.tokens = 100_000;
            call.semantic = vec![SemanticType::Message];
            let t = std::time::Instant::now();
            let call = reader::read_question(&[&space], call).unwrap();
            let answer = recall(&[&space], &call).unwrap();
            ms.push((t.elapsed().as_secs_f64() * 1e3, answer.times));
            let refs: Vec<_> = answer.receipts.iter().map(|r| r.reference.clone().unwrap()).collect();
            if dump {
                println!(
                    "{}\t{}\t{}",
                    q.question,
                    refs.join(" "),
                    answer.receipts.first().map(|r| format!("{:?}", r.features)).unwrap_or_default()
                );
            }
            let at = |k: usize| {
                evidence.iter().filter(|e| refs.iter().take(k).any(|r| r == **e)).count() as f64 / evidence.len() as f64
            };
            all.push((q.category, [at(5), at(10), at(25), at(50)]));
        }
        per.push((from, all.len()));
    }
    let mean = |rows: &[(u8, [f64; 4])]| {
        let n = rows.len() as f64;
        (0..4).map(|k| format!("{:.3}", rows.iter().map(|r| r.1[k]).sum::<f64>() / n)).collect::<Vec<_>>().join(" ")
    };
    eprintln!("all {} {}", all.len(), mean(&all));
    for (a, b) in per {
        eprintln!("conv {}", mean(&all[a..b]));
    }
    for c in 1..=5u8 {
        let r: Vec<_> = all.iter().filter(|r| r.0 == c).cloned().collect();
        eprintln!("cat {c} {} {}", r.len(), mean(&r));
    }
    ms.sort_by(|a, b| a.0.total_cmp(&b.0));
    eprintln!("p50 {:.3} ms p95 {:.3} {:?}", ms[ms.len() / 2].0, ms[ms.len() * 95 / 100].0, ms[ms.len() / 2].1);
    let _ = Timestamp::from_millis(0);
}
