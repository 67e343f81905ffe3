use std::io::ErrorKind::{AlreadyExists, NotADirectory, NotFound, UnexpectedEof, WouldBlock};

use super::*;

/// Every disk must do this, below a folder that is there.
fn behaves(disk: &dyn Disk, root: &Path) {
    let kind = |error: io::Error| error.kind();
    let (folder, file) = (root.join("one/two"), root.join("one/two/file"));
    assert_eq!(disk.open(&file, true).map_err(kind).err(), Some(NotFound), "its folder is not there");
    assert_eq!(disk.list(&folder).map_err(kind), Err(NotFound));
    disk.make_folder(&folder).unwrap();
    disk.make_folder(&folder).unwrap();
    assert_eq!(disk.open(&file, false).map_err(kind).err(), Some(NotFound));
    assert_eq!(disk.read(&file).map_err(kind), Err(NotFound));
    assert_eq!(disk.remove(&file).map_err(kind), Err(NotFound));
    assert_eq!(disk.rename(&file, &folder.join("other")).map_err(kind), Err(NotFound));
    assert_eq!(disk.size(&file).map_err(kind), Err(NotFound));

    let open = disk.open(&file, true).unwrap();
    assert!(open.is_empty().unwrap());
    open.write_at(3, b"bytes").unwrap();
    assert_eq!((open.len().unwrap(), disk.read(&file).unwrap()), (8, b"\0\0\0bytes".to_vec()));
    let mut read = [0; 4];
    open.read_at(4, &mut read).unwrap();
    assert_eq!(&read, b"ytes");
    assert_eq!(open.read_at(5, &mut read).map_err(kind), Err(UnexpectedEof));
    assert_eq!(open.read_at(u64::MAX / 4, &mut read).map_err(kind), Err(UnexpectedEof));
    open.set_len(5).unwrap();
    open.set_len(6).unwrap();
    open.sync().unwrap();
    assert_eq!((disk.size(&file).unwrap(), disk.read(&file).unwrap()), (6, b"\0\0\0by\0".to_vec()));

    assert_eq!(disk.open(&file, true).map_err(kind).err(), Some(WouldBlock), "one holds it at a time");
    drop(open);
    assert_eq!(disk.open(&file, true).unwrap().len().unwrap(), 6, "what is there is kept");
    assert_eq!(disk.create_private(&file).map_err(kind).err(), Some(AlreadyExists));
    assert_eq!(disk.make_folder(&file.join("below")).map_err(kind), Err(NotADirectory));
    assert_eq!(disk.list(&file).map_err(kind), Err(NotADirectory));

    let partial = file.with_extension("partial");
    disk.open(&partial, true).unwrap().write_at(0, b"left over, and longer than what comes").unwrap();
    disk.replace(&file, &[b"in ", b"", b"parts"]).unwrap();
    assert_eq!(disk.read(&file).unwrap(), b"in parts");
    disk.open(&partial, true).unwrap().write_at(0, b"left over, and longer than what comes").unwrap();
    disk.replace_private(&file, &[b"secret"]).unwrap();
    assert_eq!(disk.read(&file).unwrap(), b"secret");
    assert!(!disk.exists(&partial) && disk.exists(&file) && !disk.is_folder(&file) && disk.is_folder(&folder));

    disk.rename(&file, &folder.join("a name")).unwrap();
    disk.make_folder(&folder.join("below/far")).unwrap();
    assert_eq!(disk.list(&folder).unwrap(), ["a name", "below"]);
    disk.sync_folder(&folder).unwrap();
    disk.remove(&folder.join("a name")).unwrap();
    assert_eq!(disk.list(&folder).unwrap(), ["below"]);
}

#[test]
fn the_system_s_disk() {
    let folder = tempfile::tempdir().unwrap();
    behaves(&SystemDisk, folder.path());
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_a_private_file() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(file.with_extension("partial"), "everybody reads this").unwrap();
    SystemDisk.replace_private(&file, &[b"secret"]).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_disk_in_memory() {
    let disk = MemoryDisk::default();
    let root = Path::new("/vault");
    disk.make_folder(root).unwrap();
    behaves(&disk, root);
    behaves(&MemoryDisk::default(), Path::new("/"));

    disk.replace(&root.join("file"), &[b"first"]).unwrap();
    let (same, copy) = (disk.clone(), disk.copy());
    disk.replace(&root.join("file"), &[b"second"]).unwrap();
    assert_eq!(same.read(&root.join("file")).unwrap(), b"second");
    assert_eq!(copy.read(&root.join("file")).unwrap(), b"first");
}
