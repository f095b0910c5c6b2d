//! A full disk and real overlay mounts, in a mount namespace of each test's own.

use std::{fs, sync::mpsc, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::{
    super::{
        Rootfs, UnpackLimits,
        digest::Digest,
        layers::{Expected, LayerStore},
        layout::Layout,
    },
    *,
};

/// Runs `work` on a file system of `size` that only its own thread sees.
fn on_small_disk<T: Send + 'static>(
    size: &'static str,
    work: impl FnOnce(&Path) -> T + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let kind = Some("tmpfs");
        mount(
            kind,
            directory.path(),
            kind,
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .unwrap();
        sender.send(work(directory.path())).unwrap();
        nix::mount::umount2(directory.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
    let result = receiver.recv().unwrap();
    thread.join().unwrap();
    result
}

#[test]
fn a_full_disk_is_named_and_what_was_written_goes_away() {
    let mut builder = tar::Builder::new(Vec::new());
    for name in ["small", "large"] {
        let mut header = tar::Header::new_gnu();
        let content = vec![1; if name == "small" { 100_000 } else { 8 << 20 }];
        header.set_size(content.len() as u64);
        builder
            .append_data(&mut header, name, content.as_slice())
            .unwrap();
    }
    let tar = builder.into_inner().unwrap();
    on_small_disk("2m", move |directory| {
        let layout = Layout::prepare(directory.to_owned()).unwrap();
        let layers = LayerStore::open(layout.clone()).unwrap();
        let expected = Expected {
            blob: None,
            diff_id: Digest::of(&tar),
        };
        let going_on = std::sync::atomic::AtomicBool::new(false);
        let free = || nix::sys::statvfs::statvfs(directory).unwrap().blocks_free();
        let before = free();
        let limits = UnpackLimits::default();
        let error = layers
            .stage(tar.as_slice(), &expected, limits, &going_on)
            .err()
            .unwrap();
        assert!(matches!(error, ImageError::NoSpace { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("no space left on device"), "{text}");
        assert_eq!(fs::read_dir(layout.tmp()).unwrap().count(), 0);
        assert_eq!(free(), before);
    });
}

#[test]
fn a_mounted_image_shows_what_its_layers_say() {
    on_small_disk("16m", |directory| {
        // Characters that mean something in mount options.
        let base = directory.join("a:b,c");
        let store = ImageStore::open(base.join("images")).unwrap();
        let builder = ImageBuilder::new(ImageConfig::default())
            .layer(vec![
                Entry::directory("keep", 0o755),
                Entry::file("keep/gone", 0o644, "low"),
                Entry::file("keep/stays", 0o644, "low"),
                Entry::directory("cleared", 0o711),
                Entry::file("cleared/old", 0o644, "low"),
            ])
            .layer(vec![
                Entry::file("keep/.wh.gone", 0o644, ""),
                Entry::file("cleared/.wh..wh..opq", 0o644, ""),
                Entry::file("cleared/new", 0o644, "top"),
            ]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let archive = Bytes::from(packed(&builder, &["demo"]));
        let images = runtime
            .block_on(store.load_bytes(archive, LoadOptions::default()))
            .unwrap();
        let rootfs = Rootfs::create(&images[0], &base.join("container")).unwrap();
        let overlay = rootfs.overlay_options().unwrap();
        // This thread has a working directory of its own since it left the namespace.
        std::env::set_current_dir(&overlay.working_dir).unwrap();
        let (kind, options) = (Some("overlay"), Some(overlay.options.as_os_str()));
        mount(kind, &rootfs.target, kind, MsFlags::empty(), options).unwrap();
        let names = |path: &str| {
            let entries = fs::read_dir(rootfs.target.join(path)).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(""), ["cleared", "keep"]);
        assert_eq!(names("keep"), ["stays"]);
        assert_eq!(names("cleared"), ["new"]);
        fs::write(rootfs.target.join("keep/stays"), "changed").unwrap();
        assert_eq!(
            fs::read_to_string(rootfs.upper.join("keep/stays")).unwrap(),
            "changed"
        );
        nix::mount::umount(&rootfs.target).unwrap();
        std::env::set_current_dir("/").unwrap();
    });
}
