//! Tables of small inputs for each format: `check(name, input, expect)`, with what was read written out as lines.

use std::fmt::Write;

use super::*;

/// Writes a source out: one line for each session, turn, section and paragraph.
fn written(source: &Source) -> String {
    let mut out = format!("{} {}", source.format, source.name);
    let time = |at: Option<Timestamp>| at.map_or(String::new(), |at| format!(" @{at}"));
    for part in &source.parts {
        match part {
            Part::Conversation(conversation) => {
                write!(out, "; conversation {}", conversation.name).unwrap();
                for session in &conversation.sessions {
                    write!(out, "\n= {}{}", session.name, time(session.at)).unwrap();
                    for turn in &session.turns {
                        let reference = turn.reference.as_ref().map_or(String::new(), |id| format!("{id} "));
                        let caption = turn.caption.as_ref().map_or(String::new(), |caption| format!(" {{{caption}}}"));
                        let (role, speaker, text) = (turn.role, &turn.speaker, &turn.text);
                        write!(out, "\n{reference}{role:?} {speaker}{}: {text}{caption}", time(turn.at)).unwrap();
                    }
                }
            }
            Part::Document(document) => {
                write!(out, "; document {}", document.title).unwrap();
                for section in &document.sections {
                    write!(out, "\n= {}", section.path.join(" > ")).unwrap();
                    for paragraph in &section.paragraphs {
                        write!(out, "\n{paragraph}").unwrap();
                    }
                }
            }
        }
    }
    out
}

fn read_as(name: &str, bytes: &[u8], format: Option<Format>) -> Result<Source> {
    read_source(name, bytes, format, &SourceLimits::default())
}

fn check(name: &str, input: &str, expect: &str) {
    let source = read_as(name, input.as_bytes(), None).unwrap_or_else(|error| panic!("{input}: {error}"));
    assert_eq!(written(&source), expect, "{input}");
}

/// The error must hold the words; it must also be `Invalid`, name the file, and end without a full stop.
fn check_error(name: &str, bytes: &[u8], format: Option<Format>, limits: &SourceLimits, words: &str) {
    let error = read_source(name, bytes, format, limits).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(words), "expected `{words}` in: {message}");
    assert!(message.contains(name) && !message.ends_with('.'), "{message}");
    assert_eq!(error.kind(), crate::error::ErrorKind::Invalid, "{message}");
}

#[test]
fn messages_are_read() {
    for (input, expect) in [
        (
            r#"[{"role":"system","content":"Be kind."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]"#,
            "= session 1\nSystem system: Be kind.\nUser user: Hi\nAssistant assistant: Hello",
        ),
        (r#"{"messages":[{"role":"developer","content":"Be brief."}]}"#, "= session 1\nSystem system: Be brief."),
        (r#"{"role":"user","content":"alone"}"#, "= session 1\nUser user: alone"),
        (
            r#"[{"name":"Bo","content":"Hi"},{"speaker":"Ada","text":"Yo"}]"#,
            "= session 1\nPerson Bo: Hi\nPerson Ada: Yo",
        ),
        (r#"[{"role":"user","name":" Bo \n Ray ","content":"Hi"}]"#, "= session 1\nUser Bo Ray: Hi"),
        (r#"[{"id":"m1","role":"user","content":"  Hi\r\nthere  "}]"#, "= session 1\nm1 User user: Hi\nthere"),
        (
            r#"[{"role":"user","content":[{"type":"text","text":"Look"},{"type":"image_url","image_url":{"url":"u"}}]}]"#,
            "= session 1\nUser user: Look {image}",
        ),
        (
            r#"[{"role":"user","content":[{"type":"input_image","alt":"a cat"},{"type":"input_audio"},"and this"]}]"#,
            "= session 1\nUser user: and this {a cat}",
        ),
        (
            r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"find","arguments":"{\"q\":1}"}}]},{"role":"tool","tool_call_id":"c","content":"42"}]"#,
            "= session 1\nAssistant assistant: calls find({\"q\":1})\nTool tool: 42",
        ),
        (
            r#"[{"role":"assistant","content":[{"type":"text","text":"Let me see"},{"type":"tool_use","name":"find","input":{"q":1}}]},{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"42"}]}]}]"#,
            "= session 1\nAssistant assistant: Let me see\ncalls find({\"q\":1})\nUser user: 42",
        ),
        (r#"[{"role":"assistant","function_call":{"name":"stop"}}]"#, "= session 1\nAssistant assistant: calls stop()"),
        (r#"[{"role":"user","content":""},{"role":"user","content":"b"}]"#, "= session 1\nUser user: b"),
        (
            r#"[{"title":"Trip","messages":[{"role":"user","content":"a"}]},{"messages":[{"role":"user","content":"b"}]}]"#,
            "= Trip\nUser user: a\n= session 2\nUser user: b",
        ),
        (
            r#"[[{"role":"user","content":"a"}],[],[{"role":"user","content":"b"}]]"#,
            "= session 1\nUser user: a\n= session 2\nUser user: b",
        ),
        (
            r#"{"created_at":"2024-05-07","messages":[{"role":"user","content":"a","timestamp":1715077800}]}"#,
            "= session 1 @2024-05-07T00:00:00Z\nUser user @2024-05-07T10:30:00Z: a",
        ),
        (
            r#"[{"role":"user","content":"a"},{"role":"user","content":"b","created_at":"2024-05-07T10:30:00+02:00"}]"#,
            "= session 1 @2024-05-07T08:30:00Z\nUser user: a\nUser user @2024-05-07T08:30:00Z: b",
        ),
        (
            r#"[{"role":"user","content":"a","created_at":1715077800123.0},{"role":"user","content":"b","create_time":"1715077800.5"}]"#,
            "= session 1 @2024-05-07T10:30:00Z\nUser user @2024-05-07T10:30:00Z: a\nUser user @2024-05-07T10:30:00Z: b",
        ),
        (r#"[{"role":"user","content":"a\u0000\u001b[1mb\ufeff"}]"#, "= session 1\nUser user: a[1mb"),
    ] {
        check("/tmp/talk.JSON", input, &format!("messages talk; conversation talk\n{}", &expect));
        // Without an ending, the content alone tells.
        check("talk", input, &format!("messages talk; conversation talk\n{}", &expect));
    }
}

#[test]
fn message_lines_are_read() {
    for (name, input, expect) in [
        (
            "t.jsonl",
            "{\"role\":\"user\",\"content\":\"a\"}\n\n{\"role\":\"ai\",\"content\":\"b\"}\n",
            "= session 1\nUser user: a\nAssistant assistant: b",
        ),
        (
            "t.ndjson",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}\r\n{\"role\":\"user\",\"content\":\"b\"}",
            "= session 1\nUser user: a\n= session 2\nUser user: b",
        ),
        (
            "t.json",
            "{\"role\":\"user\",\"content\":\"a\"}\n{\"role\":\"user\",\"content\":\"b\"}",
            "= session 1\nUser user: a\nUser user: b",
        ),
        (
            "t",
            "{\"role\":\"user\",\"content\":\"a\"}\n{\"role\":\"user\",\"content\":\"b\"}",
            "= session 1\nUser user: a\nUser user: b",
        ),
    ] {
        check(name, input, &format!("messages-jsonl t; conversation t\n{expect}"));
    }
}

const LOCOMO: &str = r#"[{"sample_id":"conv-1","conversation":{"speaker_a":"Ada","speaker_b":"Bo",
    "session_10":[{"speaker":"Bo","dia_id":"D10:1","text":"Bye"}],
    "session_2_date_time":"1:56 pm on 8 May, 2023","session_3_date_time":"2:00 pm on 9 May, 2023",
    "session_2":[{"speaker":"Ada","dia_id":"D2:1","text":"Hi"},
                 {"speaker":"Bo","dia_id":"D2:2","text":"","blip_caption":"a red car","img_url":["u"],"query":"q"}]},
    "qa":[{"question":"Who?","answer":7,"evidence":["D2:1; D10:1","D2:1"],"category":2},
          {"question":"What?","adversarial_answer":"x","evidence":["D:11:26","D","(D2:02)D3:4,D5"],"category":"5"},
          {"question":"Why?","category":3}]},
    {"conversation":{"session_1":[{"speaker":"Cy","text":"Me too"}]}},
    {"sample_id":3,"conversation":{"session_1":[]}}]"#;

#[test]
fn locomo_is_read() {
    let expect = "locomo dev; conversation conv-1\n= session_2 @2023-05-08T13:56:00Z\nD2:1 Person Ada: Hi\n\
                  D2:2 Person Bo:  {a red car}\n= session_10\nD10:1 Person Bo: Bye; conversation sample 2\n\
                  = session_1\nPerson Cy: Me too";
    check("dev.json", LOCOMO, expect);
    check(
        "one.json",
        r#"{"conversation":{"session_1":[{"speaker":"Cy","text":"x"}]}}"#,
        "locomo one; conversation sample 1\n= session_1\nPerson Cy: x",
    );
}

#[test]
fn locomo_questions_are_read() {
    let samples = read_locomo_questions(LOCOMO.as_bytes()).unwrap();
    let names: Vec<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    assert_eq!(names, ["conv-1", "sample 2", "3"]);
    let read: Vec<_> =
        samples[0].questions.iter().map(|q| (q.question.as_str(), q.category, q.evidence.join(" "))).collect();
    let expect = [("Who?", 2, "D2:1 D10:1"), ("What?", 5, "D2:02 D3:4"), ("Why?", 3, "")];
    assert_eq!(read, expect.map(|(question, category, evidence)| (question, category, evidence.to_owned())));
    for (input, words) in [
        ("7", "sample 1 is a number"),
        (r#"[{"qa":7}]"#, "sample `sample 1`: `qa` is a number"),
        (r#"[{"qa":[{"category":1}]}]"#, "question 1: `question` is missing"),
        (r#"[{"qa":[{"question":"x","category":-1}]}]"#, "`category` is not a number"),
        ("[", "line 1, column 1: not valid JSON"),
    ] {
        let message = read_locomo_questions(input.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn transcripts_are_read() {
    for (input, expect) in [
        ("Ada: Hello\nBo: Hi", "= session 1\nPerson Ada: Hello\nPerson Bo: Hi"),
        (
            "User: Hello\nAssistant: Hi\nuser: Bye",
            "= session 1\nUser User: Hello\nAssistant Assistant: Hi\nUser user: Bye",
        ),
        (
            "Ada: Hello\nthere\n\n  again\nBo: Hi\nAda: x\n\n",
            "= session 1\nPerson Ada: Hello\nthere\n\n  again\nPerson Bo: Hi\nPerson Ada: x",
        ),
        (
            "**Ada:** Hello\n**Bo**: Hi\n**Ada:** x\n**Bo:** y",
            "= session 1\nPerson Ada: Hello\nPerson Bo: Hi\nPerson Ada: x\nPerson Bo: y",
        ),
        (
            "# Session 3 - 7 May 2024\nAda: Hello\nBo: Hi\n## 8 May 2024, 18:30\nAda: Bye",
            "= Session 3 - 7 May 2024 @2024-05-07T00:00:00Z\nPerson Ada: Hello\nPerson Bo: Hi\n\
             = 8 May 2024, 18:30 @2024-05-08T18:30:00Z\nPerson Ada: Bye",
        ),
        (
            "--- 2024-05-07 ---\nAda: Hello\nBo: Hi\n\n---\n\nAda: x\n=== Session 2 ===\nBo: y",
            "= 2024-05-07 @2024-05-07T00:00:00Z\nPerson Ada: Hello\nPerson Bo: Hi\nPerson Ada: x\n= Session 2\nPerson Bo: y",
        ),
        (
            "Session 3 (1:56 pm on 8 May, 2023)\nAda: Hello\nBo: Hi\nSession 4\nAda: x",
            "= Session 3 (1:56 pm on 8 May, 2023) @2023-05-08T13:56:00Z\nPerson Ada: Hello\nPerson Bo: Hi\n= Session 4\nPerson Ada: x",
        ),
        (
            "Session 1\n2024-05-07\nAda: Hello\nBo: Hi\nDate: 2024-05-08\nAda: x\nBo: 7 May 2024 it is",
            "= Session 1 - 2024-05-07 @2024-05-07T00:00:00Z\nPerson Ada: Hello\nPerson Bo: Hi\n\
             = 2024-05-08 @2024-05-08T00:00:00Z\nPerson Ada: x\nPerson Bo: 7 May 2024 it is",
        ),
        (
            "[2024-05-07 23:50] Ada: Hello\n[23:59] Bo: Hi\n[00:10] Ada: Late\nBo: x\n[00:05] Bo: y",
            "= session 1 @2024-05-07T23:50:00Z\nPerson Ada @2024-05-07T23:50:00Z: Hello\nPerson Bo @2024-05-07T23:59:00Z: Hi\n\
             Person Ada @2024-05-08T00:10:00Z: Late\nPerson Bo: x\nPerson Bo @2024-05-08T00:05:00Z: y",
        ),
        ("[10:30] Ada: Hello\n[10:31 am] Bo: Hi", "= session 1\nPerson Ada: Hello\nPerson Bo: Hi"),
        (
            "Ada: Look [shares a picture: a red [old] car]\nBo: Nice\n[Image: a cat]\nAda: [photo]\nBo: [sic]",
            "= session 1\nPerson Ada: Look {a red [old] car}\nPerson Bo: Nice {a cat}\nPerson Ada:  {image}\nPerson Bo: [sic]",
        ),
        (
            "# Session 1\nIt rained.\n\nAda: Hello\nBo: Hi",
            "= Session 1\nSystem narrator: It rained.\nPerson Ada: Hello\nPerson Bo: Hi",
        ),
        (
            "User: Plan?\nAssistant: Sure\n# Plan\nDay 1: Rome\nBudget: 200\n---\nDone\nUser: Thanks\nUser: x\nUser: y\nUser: z",
            "= session 1\nUser User: Plan?\nAssistant Assistant: Sure\n# Plan\nDay 1: Rome\nBudget: 200\n---\nDone\n\
             User User: Thanks\nUser User: x\nUser User: y\nUser User: z",
        ),
        ("李：你好\n王：好", "= session 1\nPerson 李: 你好\nPerson 王: 好"),
    ] {
        check("talk.txt", input, &format!("transcript talk; conversation talk\n{expect}"));
    }
    check(
        "t.txt",
        "# Ada and Bo\n# 7 May 2024\nAda: a\nBo: b",
        "transcript t; conversation Ada and Bo\n= 7 May 2024 @2024-05-07T00:00:00Z\nPerson Ada: a\nPerson Bo: b",
    );
    check(
        "t.txt",
        "\u{feff}Ada: a\r\nBo: b\r\n",
        "transcript t; conversation t\n= session 1\nPerson Ada: a\nPerson Bo: b",
    );
}

#[test]
fn markdown_is_read() {
    for (input, expect) in [
        ("One\ntwo\n\nThree", "n\n= \nOne two\nThree"),
        ("# A\n\none\n\n## B\n\ntwo\n\n# C\n\nthree", "A\n= A\none\n= A > B\ntwo\n= C\nthree"),
        ("intro\n\n# A\n\none", "n\n= \nintro\n= A\none"),
        ("---\ntitle: \"The book\"\ndate: 2024-05-07\n---\n# A\n\none", "The book\n= A\none"),
        ("---\n\nNo front matter\n\n---\n\nmore", "n\n= \nNo front matter\nmore"),
        (
            "- one\n- two\n  - three\n\n  more\n- four\n\n1. a\n2. b",
            "n\n= \n- one\n- two\n  - three\n  more\n- four\n1. a\n2. b",
        ),
        ("| a | b |\n|---|---|\n| 1 | **2** |\n| | |", "n\n= \na | b\n1 | 2"),
        ("```rust\nlet x = 1;\n\n  y\n```\nend", "n\n= \n```rust\nlet x = 1;\n\n  y\n```\nend"),
        ("    let x = 1;", "n\n= \n```\nlet x = 1;\n```"),
        ("- item\n\n  ```\n  code\n  ```", "n\n= \n- item\n  ```\n  code\n  ```"),
        (
            "See [the *docs*](https://a.example), <https://b.example> and ![a cat](c.png).",
            "n\n= \nSee the docs, https://b.example and a cat.",
        ),
        ("a <b>bold</b> word<br>next &amp; ~~gone~~ `code`", "n\n= \na bold word\nnext & gone code"),
        ("<div>\n<p>One</p><!-- not -->\n</div>\n\ntwo", "n\n= \nOne\ntwo"),
        ("> quoted\n> # not a section\n\nend", "n\n= \nquoted\nnot a section\nend"),
        ("# A\n\n## Buy milk\n\n## B\n\none", "A\n= A\nBuy milk\n= A > B\none"),
        ("# Only {#id}", "Only\n= \nOnly"),
        ("### Deep\n\none\n\n# Top\n\ntwo", "Deep\n= Deep\none\n= Top\ntwo"),
        ("one\\\ntwo  \nthree", "n\n= \none\ntwo\nthree"),
        ("- [ ] task[^1]\n\n[^1]: note", "n\n= \n- [ ] task[^1]\n[^1]: note"),
    ] {
        check("n.md", input, &format!("markdown n; document {expect}"));
    }
    let long = format!("{}\n---\nend", "word ".repeat(100));
    check("n.md", &long, &format!("markdown n; document n\n= \n{}\nend", "word ".repeat(100).trim()));
}

#[test]
fn plain_text_is_read() {
    let wrapped = "This line was wrapped by an editor at seventy columns or so\nand goes on here.";
    for (name, input, expect) in [
        ("n.txt", "One\ntwo\n\n\nThree\u{c}Four\r\n\r\nFive", "n\n= \nOne\ntwo\nThree\nFour\nFive"),
        ("n.txt", wrapped, "n\n= \nThis line was wrapped by an editor at seventy columns or so and goes on here."),
        ("n.txt", "Apple: a fruit\nBeet: a root\nCorn: a grain", "n\n= \nApple: a fruit\nBeet: a root\nCorn: a grain"),
        ("n.txt", "From: bo\nTo: ada\nSubject: x\n\nHello", "n\n= \nFrom: bo\nTo: ada\nSubject: x\nHello"),
        ("n.txt", "Note: one\nNote: two", "n\n= \nNote: one\nNote: two"),
        ("n.txt", "{\"role\":\"user\"} is JSON", "n\n= \n{\"role\":\"user\"} is JSON"),
        ("n", "[1] is no JSON", "n\n= \n[1] is no JSON"),
        ("a/b\\n.v2", "text", "n.v2\n= \ntext"),
        ("-", "text", "input\n= \ntext"),
        ("", "text", "input\n= \ntext"),
    ] {
        let stem = expect.split('\n').next().unwrap();
        check(name, input, &format!("text {stem}; document {expect}"));
    }
}

#[test]
fn encodings_are_read() {
    for (bytes, expect) in [
        (b"\xef\xbb\xbfh\xc3\xa9".to_vec(), "hé"),
        ([&[0xff, 0xfe][..], &"hé😊".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()].concat(), "hé😊"),
        ([&[0xfe, 0xff][..], &"hé".encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>()].concat(), "hé"),
    ] {
        let source = read_as("n.txt", &bytes, None).unwrap();
        assert_eq!(written(&source), format!("text n; document n\n= \n{expect}"));
    }
}

#[test]
fn formats_can_be_named() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
    }
    assert!("csv".parse::<Format>().unwrap_err().to_string().contains("messages-jsonl, locomo"));
    let forced = |text: &str, format| written(&read_as("n.md", text.as_bytes(), Some(format)).unwrap());
    assert_eq!(forced("# A: b", Format::Text), "text n; document n\n= \n# A: b");
    assert_eq!(forced("Ada: b", Format::Transcript), "transcript n; conversation n\n= session 1\nPerson Ada: b");
    assert!(forced("[{\"role\":\"user\",\"content\":\"a\"}]", Format::Messages).starts_with("messages n"));
}

#[test]
fn bad_inputs_are_refused() {
    let limits = SourceLimits::default();
    for (name, bytes, words) in [
        ("a.txt", &b""[..], "the file is empty"),
        ("a.md", b" \n\t\n", "the file is empty"),
        ("a.txt", b"ab\n\xffcd", "line 2 is not UTF-8 at byte 3"),
        ("a.txt", b"\xef\xbb\xbf\xff", "line 1 is not UTF-8 at byte 3"),
        ("a.txt", b"a\0b", "zero byte at byte 1"),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0", "the file is binary"),
        ("a.txt", b"\xff\xfea\0\0\xd8", "not at byte 4"),
        ("a.txt", b"\xff\xfea", "not at byte 2"),
        ("a.bin", b"%PDF-1.7", "is a PDF"),
        ("a.html", b"<p>x</p>", "`.html` are not read"),
        ("a.json", b"{\"a\":\n 1,}", "line 2, column 4: not valid JSON: trailing comma"),
        ("a.json", b"[]", "an empty array"),
        ("a.json", b"7", "the JSON is a number"),
        ("a.json", b"{}", "an empty object"),
        ("a.json", b"{\"x\":1}", "an object with the key `x`, which is no known shape"),
        ("a.json", b"[[1]]", "the JSON is an array of arrays"),
        ("a.json", b"[{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1}]", "`f` and 1 more"),
        ("a.json", b"{\"messages\":[]}", "holds no message"),
        ("a.json", b"{\"messages\":[7]}", "message 1: found a number"),
        ("a.json", b"[{\"role\":\"user\",\"content\":\"a\"},null]", "item 2: found null"),
        ("a.json", b"[{\"role\":\"Bo\",\"content\":\"a\"}]", "item 1: the role `Bo` is not known"),
        ("a.json", b"[{\"role\":7,\"content\":\"a\"}]", "`role` is a number"),
        ("a.json", b"[{\"role\":\"user\",\"content\":7}]", "`content` is a number"),
        ("a.json", b"[{\"role\":\"user\",\"content\":[7]}]", "a part of `content` is a number"),
        ("a.json", b"[{\"role\":\"user\",\"content\":\"\",\"tool_calls\":7}]", "`tool_calls` is a number"),
        ("a.json", b"[{\"role\":\"user\",\"content\":\"a\"},{\"x\":1}]", "item 2: found an object with the key `x`"),
        ("a.json", b"[{\"role\":\"user\",\"content\":\"a\",\"created_at\":\"soon\"}]", "`created_at` is `soon`"),
        ("a.json", b"[{\"role\":\"user\",\"content\":\"a\",\"timestamp\":1e300}]", "which is not a time"),
        ("a.jsonl", b"{\"role\":\"user\",\"content\":\"a\"}\n{\"role\"", "line 2, column 7: not valid JSON"),
        ("a.jsonl", b"{\"role\":\"user\",\"content\":\"a\"}\n7", "line 2: found a number"),
        ("a.json", b"{\"conversation\":{}}", "no sample holds"),
        ("a.json", b"[{\"conversation\":{}},7]", "sample 2 is a number"),
        ("a.json", b"{\"conversation\":{\"session_1\":7}}", "sample `sample 1`: `session_1`: found a number"),
        ("a.json", b"{\"conversation\":{\"session_99999999999999999999\":[]}}", "no usable number"),
        ("a.json", b"{\"conversation\":{\"session_1\":[{\"text\":\"x\"}]}}", "turn 1: the turn has no speaker"),
        (
            "a.json",
            b"{\"conversation\":{\"session_1\":[],\"session_1_date_time\":\"soon\"}}",
            "the date `soon` cannot be read",
        ),
        ("a.transcript", b"# Only a title", "the file holds no turn"),
        ("a.txt", b"[99/99/2024, 10:30] Ada: x\n[10:31] Bo: y", "line 1: `99/99/2024, 10:30` is not a time"),
        ("a.md", b"<!-- nothing -->", "no text besides markup"),
        ("a.txt", b"\x01\x02", "the file holds no text"),
    ] {
        check_error(name, bytes, None, &limits, words);
    }
    check_error(
        "a.json",
        b"[{\"role\":\"user\",\"content\":\"a\"}]",
        Some(Format::Locomo),
        &limits,
        "`conversation` is missing",
    );
    check_error(
        "a.json",
        LOCOMO.as_bytes(),
        Some(Format::Messages),
        &limits,
        "found an object with the keys `conversation`",
    );
}

#[test]
fn limits_hold() {
    let limits = |change: fn(&mut SourceLimits)| {
        let mut limits = SourceLimits::default();
        change(&mut limits);
        limits
    };
    let messages = br#"[{"role":"user","name":"Bo","content":"abcdef"},{"role":"user","content":"b"}]"#;
    for (name, bytes, limits, words) in [
        ("a.txt", &b"abcd"[..], limits(|l| l.file_bytes = 3), "has 4 bytes, and 3 are allowed"),
        ("a.json", b"[[\n[[1]]]]", limits(|l| l.json_depth = 3), "line 2, column 2: more than 3"),
        ("a.json", b"[1,2,3,4]", limits(|l| l.json_values = 4), "more than 4 JSON values"),
        ("a.json", messages, limits(|l| l.turns = 1), "item 2: the file has more than 1 turns"),
        ("a.json", messages, limits(|l| l.turn_bytes = 5), "item 1: the turn of `Bo` has 6 bytes"),
        ("a.json", messages, limits(|l| l.speaker_chars = 1), "the speaker `Bo` has more than 1"),
        ("a.txt", b"Ada: a\nBo: b\nlonger", limits(|l| l.turn_bytes = 5), "line 2: the turn of `Bo` has 8 bytes"),
        ("a.md", b"# A\na\n# B\nb", limits(|l| l.sections = 1), "more than 1 sections"),
        ("a.md", b"a\n\nb", limits(|l| l.paragraphs = 1), "more than 1 paragraphs"),
        ("a.txt", b"a\n\nb", limits(|l| l.paragraphs = 1), "more than 1 paragraphs"),
    ] {
        check_error(name, bytes, None, &limits, words);
    }
    let deep = "[".repeat(100_000);
    check_error("a.json", deep.as_bytes(), None, &SourceLimits::default(), "line 1, column 65");
    check_error("a.json", deep.as_bytes(), None, &limits(|l| l.json_depth = usize::MAX), "recursion limit");
}

#[test]
fn passages_are_cut() {
    let check = |paragraphs: &[&str], max_chars: usize, expect: &[&str]| {
        let paragraphs: Vec<String> = paragraphs.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(split_passages(&paragraphs, max_chars), expect, "{paragraphs:?}");
    };
    check(&[], 10, &[]);
    check(&["one", "two"], 10, &["one\n\ntwo"]);
    check(&["one", "two"], 7, &["one", "two"]);
    check(&["One two. Three four. Five."], 12, &["One two.", "Three four.", "Five."]);
    check(&["a", "One two. Three.", "b"], 9, &["a", "One two.", "Three.\n\nb"]);
    check(&["one two three four"], 9, &["one two", "three", "four"]);
    check(&["abcdefghij kl"], 4, &["abcd", "efgh", "ij", "kl"]);
    check(&["éééééé"], 4, &["éééé", "éé"]);
    check(&["```\nlet a;\n\n  let b;\n```"], 12, &["```\nlet a;\n", "  let b;\n```"].map(str::trim_end));
    check(&["ab"], 0, &["a", "b"]);

    let document = Document {
        title: String::new(),
        sections: vec![
            Section { path: vec!["A".to_owned()], paragraphs: vec!["one".to_owned()] },
            Section { path: vec!["B".to_owned()], paragraphs: vec!["two".to_owned(), "three".to_owned()] },
        ],
    };
    let mut limits = SourceLimits { passage_chars: 5, ..SourceLimits::default() };
    let passages = document.passages(&limits).unwrap();
    let found: Vec<_> = passages.iter().map(|passage| (passage.path[0].as_str(), passage.text.as_str())).collect();
    assert_eq!(found, [("A", "one"), ("B", "two"), ("B", "three")]);
    limits.passages = 2;
    assert!(document.passages(&limits).unwrap_err().to_string().contains("more than 2 passages"));
}
