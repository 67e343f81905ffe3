use super::*;
use crate::cube::{CubeId, Layer, SemanticType, State};
use crate::graph::Link;
use crate::time::Timestamp;
use crate::vault::NeighbourCube;

fn id(number: u8) -> CubeId {
    CubeId::from_bytes([number; 16])
}

fn cube(number: u8, text: &str) -> NeighbourCube {
    NeighbourCube {
        id: id(number),
        version: 1,
        semantic: SemanticType::ALL[usize::from(number) % SemanticType::ALL.len()],
        state: if number == 3 { State::Archived } else { State::Generated },
        layer: Layer::Global,
        speaker: number.is_multiple_of(2).then(|| "Bo <b> & \"Co\"".to_owned()),
        title: "Title".to_owned(),
        text: text.to_owned(),
        observed: Timestamp::from_millis(1_700_000_000_000),
        hops: usize::from(number.min(2)),
    }
}

fn around() -> Neighbourhood {
    let links =
        [(1, LinkKind::Follows, 0), (0, LinkKind::Similar, 1), (2, LinkKind::DerivedFrom, 1), (3, LinkKind::About, 0)];
    Neighbourhood {
        cubes: vec![
            cube(0, "the </title><script>alert(1)</script> centre\u{1b}[31m"),
            cube(1, "one"),
            cube(2, &"words and more words ".repeat(40)),
            cube(3, "日本語のテキスト"),
        ],
        links: links.map(|(from, kind, to)| Link { from: id(from), kind, to: id(to) }).to_vec(),
    }
}

#[test]
fn a_picture_holds_every_memory_and_link_and_only_text_of_theirs() {
    let picture = Picture::of(&around(), "home/main").unwrap();
    let svg = picture.svg();
    assert_eq!(svg, Picture::of(&around(), "home/main").unwrap().svg(), "the same memories give the same picture");
    assert_eq!(svg.matches("data-from=").count(), 4);
    assert_eq!(svg.matches("class=\"face\"").count(), 4 + 5, "four cards and five samples");
    for text in ["&lt;script&gt;", "Bo &lt;b&gt; &amp; &quot;Co&quot;", "derived-from", "prefers-color-scheme:dark"] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(!svg.contains("<script") && !svg.contains('\u{1b}'));
    let html = picture.html();
    assert_eq!(html.matches("<script").count(), 1, "the page's own");
    assert_eq!(html.matches("data-text=").count(), 4);
    let elsewhere = ["src=", "href=", "@import", "url(http"];
    assert!(elsewhere.iter().all(|link| !html.contains(link)), "a page asks for nothing from elsewhere");
}

#[test]
fn cards_stay_within_the_frame() {
    let picture = Picture::of(&around(), "home/main").unwrap();
    for placed in &picture.cards {
        assert!(placed.rect.left() >= 0.0 && placed.rect.right() <= picture.width);
        assert!(placed.rect.top() >= HEAD && placed.rect.bottom() <= picture.height);
    }
}

#[test]
fn too_much_and_nothing_are_refused() {
    assert!(Picture::of(&Neighbourhood { cubes: Vec::new(), links: Vec::new() }, "").is_err());
    let many = Neighbourhood { cubes: vec![cube(1, "x"); MOST_CUBES + 1], links: Vec::new() };
    assert!(Picture::of(&many, "").is_err());
}
