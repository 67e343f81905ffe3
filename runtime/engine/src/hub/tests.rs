use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::ErrorKind;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the little hub does wrong, or in its own way.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    Good,
    /// Ends every connection after so many bytes of a body.
    Cuts(usize),
    KnowsNoRanges,
    WrongChecksum,
    AlwaysFails,
}

/// A hub of one model on this machine. Files are redirected to another path, as the real one does.
struct LittleHub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LittleHub {
    fn open(files: &[(&'static str, Vec<u8>)], habit: Habit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (files, log, stop) = (files.to_vec(), Arc::clone(&asked), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                answer(stream.unwrap(), &files, habit, &log);
            }
        });
        Self { address, asked, over, thread: Some(thread) }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for LittleHub {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address.strip_prefix("http://").unwrap()));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(mut stream: TcpStream, files: &[(&'static str, Vec<u8>)], habit: Habit, log: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let Some(path) = request.split(' ').nth(1).map(str::to_owned) else { return };
    let range = request.lines().find_map(|line| line.strip_prefix("range: bytes=")).map(str::to_owned);
    log.lock().unwrap().push(format!("{path} {}", range.clone().unwrap_or_default()).trim().to_owned());
    let mut send = |head: &str, body: &[u8]| {
        let cut = match habit {
            Habit::Cuts(bytes) if !path.starts_with("/api") => bytes.min(body.len()),
            _ => body.len(),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..cut]));
    };
    if habit == Habit::AlwaysFails {
        return send("503 Busy", b"");
    }
    if path == "/api/models/acme/small/revision/main?blobs=true" {
        return send("200 OK", listing(files, habit).to_string().as_bytes());
    }
    if let Some(name) = path.strip_prefix(&format!("/acme/small/resolve/{COMMIT}/")) {
        return send(&format!("302 Found\r\nlocation: /store/{name}"), b"");
    }
    let body = path.strip_prefix("/store/").and_then(|name| files.iter().find(|(has, _)| *has == name));
    match (body, range) {
        (None, _) => send("404 Not Found", b""),
        (Some((_, body)), Some(range)) if habit != Habit::KnowsNoRanges => {
            let start: usize = range.strip_suffix('-').unwrap().parse().unwrap();
            let (last, all) = (body.len() - 1, body.len());
            send(&format!("206 Partial\r\ncontent-range: bytes {start}-{last}/{all}"), &body[start..]);
        }
        (Some((_, body)), _) => send("200 OK", body),
    }
}

fn listing(files: &[(&'static str, Vec<u8>)], habit: Habit) -> Value {
    let entries = files.iter().map(|(name, body)| {
        let mut sha256: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        if habit == Habit::WrongChecksum {
            sha256 = "0".repeat(64);
        }
        match name.ends_with(".json") {
            true => json!({ "rfilename": name, "size": body.len() }),
            false => json!({ "rfilename": name, "size": body.len(), "lfs": { "sha256": sha256, "size": body.len() } }),
        }
    });
    json!({ "sha": COMMIT, "siblings": entries.collect::<Vec<_>>() })
}

fn weights() -> Vec<u8> {
    (0..1_000_000_u32).map(|place| (place % 251) as u8).collect()
}

fn model() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("model.safetensors", weights()),
        ("config.json", b"{}".to_vec()),
        ("README.md", b"#".to_vec()),
        ("big.gguf", vec![1]),
    ]
}

fn fetch(hub: &LittleHub, name: &str, cache: &Path) -> Result<PathBuf> {
    Hub::at(&hub.address).unwrap().fetch(name, None, cache, &mut |_| true)
}

#[test]
fn a_model_comes_with_what_it_needs_and_only_once() {
    let cache = tempfile::tempdir().unwrap();
    let hub = LittleHub::open(&model(), Habit::Good);
    let mut told = Vec::new();
    let folder = Hub::at(&hub.address)
        .unwrap()
        .fetch("acme/small", None, cache.path(), &mut |progress| {
            told.push(progress.clone());
            true
        })
        .unwrap();
    let mut here: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    here.sort();
    assert_eq!(here, ["config.json", "model.safetensors"]);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert!(told.is_sorted_by_key(|progress| progress.done_bytes));
    let end = Progress { file: "model.safetensors".to_owned(), done_bytes: 1_000_002, total_bytes: 1_000_002 };
    assert_eq!(told.last(), Some(&end));
    assert_eq!(hub.asked().len(), 5);
    assert_eq!(fetch(&hub, "acme/small", cache.path()).unwrap(), folder);
    assert_eq!(hub.asked(), ["/api/models/acme/small/revision/main?blobs=true"]);
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_ended() {
    let cache = tempfile::tempdir().unwrap();
    let hub = LittleHub::open(&model(), Habit::Cuts(400_000));
    let folder = fetch(&hub, "acme/small", cache.path()).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    let asked = hub.asked();
    let stored: Vec<_> = asked.iter().filter_map(|path| path.strip_prefix("/store/model.safetensors ")).collect();
    assert_eq!(stored, ["0-", "400000-", "800000-"]);
}

#[test]
fn a_later_run_goes_on_from_what_an_earlier_one_kept() {
    let cache = tempfile::tempdir().unwrap();
    let hub = LittleHub::open(&model(), Habit::Good);
    let cancelled = Hub::at(&hub.address)
        .unwrap()
        .fetch("acme/small", None, cache.path(), &mut |progress| progress.done_bytes < 300_000);
    assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Cancelled);
    hub.asked();
    let folder = fetch(&hub, "acme/small", cache.path()).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    let asked = hub.asked();
    let start = asked.last().unwrap().strip_prefix("/store/model.safetensors ").unwrap().strip_suffix('-').unwrap();
    assert!(start.parse::<usize>().unwrap() >= 299_998, "{asked:?}");
}

#[test]
fn a_hub_without_ranges_sends_all_again() {
    let cache = tempfile::tempdir().unwrap();
    let hub = LittleHub::open(&model(), Habit::KnowsNoRanges);
    let folder = cache.path().join("acme--small").join(COMMIT);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("model.safetensors.part"), b"something else").unwrap();
    fetch(&hub, "acme/small", cache.path()).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let hub = LittleHub::open(&model(), Habit::WrongChecksum);
    let error = fetch(&hub, "acme/small", cache.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let folder = cache.path().join("acme--small").join(COMMIT);
    assert!(!folder.join("model.safetensors").exists() && !folder.join("model.safetensors.part").exists());
}

#[test]
fn without_a_network_what_was_fetched_is_found() {
    let cache = tempfile::tempdir().unwrap();
    let hub = LittleHub::open(&model(), Habit::Good);
    let folder = fetch(&hub, "acme/small", cache.path()).unwrap();
    let failing = LittleHub::open(&[], Habit::AlwaysFails);
    assert_eq!(fetch(&failing, "acme/small", cache.path()).unwrap(), folder);
    let address = hub.address.clone();
    drop(hub);
    let gone = Hub::at(&address).unwrap();
    assert_eq!(gone.fetch("acme/small", None, cache.path(), &mut |_| true).unwrap(), folder);
    let error = gone.fetch("acme/other", None, cache.path(), &mut |_| true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("without a network, give the folder"), "{error}");
    fs::write(folder.join("model.safetensors"), b"cut").unwrap();
    assert!(gone.fetch("acme/small", None, cache.path(), &mut |_| true).is_err());
}

#[test]
fn names_lead_nowhere_else() {
    let hub = Hub::at("http://127.0.0.1:1").unwrap();
    let cache = tempfile::tempdir().unwrap();
    for (name, revision) in [
        ("small", "main"),
        ("acme/../small", "main"),
        ("../small", "main"),
        ("acme/sm?ll", "main"),
        ("acme/small/config.json", "main"),
        ("acme/", "main"),
        ("acme/small", "../main"),
        ("acme/small", ""),
    ] {
        let error = hub.fetch(name, Some(revision), cache.path(), &mut |_| true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
    }
    for endpoint in
        ["http://example.org", "ftp://example.org", "https://", "http://127.0.0.1.example.org", "example.org"]
    {
        assert!(Hub::at(endpoint).is_err(), "{endpoint}");
    }
    assert!(Hub::at(ENDPOINT).is_ok() && Hub::at("http://localhost:8080/").is_ok());
}

#[test]
fn a_listing_is_read_with_care() {
    let named = |names: &[&str]| {
        let entries = names
            .iter()
            .map(|name| json!({ "rfilename": name, "size": 1, "lfs": { "sha256": "0".repeat(64) } }))
            .collect::<Vec<_>>();
        json!({ "sha": COMMIT, "siblings": entries }).to_string()
    };
    let read = |answer: &str, gguf| Listing::read(answer.as_bytes(), gguf);
    let names = |listing: Listing| listing.files.into_iter().map(|file| file.name).collect::<Vec<_>>();
    assert_eq!(
        names(read(&named(&["a.gguf", "config.json", "../x.safetensors", "b/c.safetensors"]), None).unwrap()),
        ["a.gguf", "config.json"]
    );
    let two = named(&["a.gguf", "b.gguf", "tokenizer.json"]);
    assert_eq!(names(read(&two, Some("b.gguf")).unwrap()), ["b.gguf", "tokenizer.json"]);
    let error = read(&two, None).unwrap_err();
    assert!(error.to_string().contains("`a.gguf`, `b.gguf`"), "{error}");
    assert_eq!(read(&two, Some("c.gguf")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(read(&named(&["config.json"]), None).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(read("{", None).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(read(r#"{"sha": "../../etc"}"#, None).unwrap_err().kind(), ErrorKind::Corrupt);
    let unsure = json!({ "sha": COMMIT, "siblings": [{ "rfilename": "a.gguf", "size": 1 }] });
    assert!(read(&unsure.to_string(), None).unwrap_err().to_string().contains("no checksum for `a.gguf`"));
    let large = json!({ "sha": COMMIT, "siblings": [{ "rfilename": "a.gguf", "size": FILE_BYTES_MAX + 1 }] });
    assert_eq!(read(&large.to_string(), None).unwrap_err().kind(), ErrorKind::Invalid);
}
