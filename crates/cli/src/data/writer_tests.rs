use super::*;
use crate::data::event::{Event, Sink};
use crate::data::filter::Filter;
use crate::data::meta::{ExitKind, Function, Site, SiteKind};
use crate::data::trace::Trace;

fn tables() -> Meta {
    let function = |name: &str| Function {
        name: name.into(),
        file: "/bin/x".into(),
        addr: 0x1000,
        size: 16,
        exit: ExitKind::Patched,
    };
    let site = |function, kind| Site { function, kind };
    Meta {
        version: meta::VERSION,
        command: vec!["x".into()],
        pid: 7,
        exe: "/bin/x".into(),
        started_unix_ns: 0,
        tsc_start: 100,
        tsc_end: 1100,
        tsc_hz: 1e9,
        functions: vec![function("f")],
        sites: vec![site(0, SiteKind::Entry), site(0, SiteKind::Return)],
        threads: Vec::new(),
        lost: 0,
        refused: Vec::new(),
        end: meta::End::Detached,
        verified: true,
        depth: None,
        min_ns: None,
    }
}

#[derive(Default)]
struct Log(Vec<Event>);
impl Sink for Log {
    fn event(&mut self, event: Event) -> Result<()> {
        self.0.push(event);
        Ok(())
    }
}

fn events(trace: &Trace, index: usize) -> usize {
    let mut log = Log::default();
    trace.walk(index, Filter::default(), &mut log, &mut |_| ()).unwrap();
    log.0.len()
}

#[test]
fn what_is_written_is_read_back() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("t");
    let mut writer = TraceWriter::create(&dir, false).unwrap();
    writer.begin(&tables()).unwrap();
    let key = writer.add_thread(7, 0, "main").unwrap();
    writer.append(key, Record::new(200, 0x8000, 0)).unwrap();
    writer.append_words(key, [300, (0x8000 >> 3) << 24 | 1]).unwrap();
    writer.append_lost(key, 400, 5).unwrap();
    writer.finish(tables()).unwrap();

    let trace = Trace::open(&dir).unwrap();
    assert!(trace.warnings.is_empty(), "{:?}", trace.warnings);
    assert_eq!((trace.meta.lost, trace.total_records()), (5, 3));
    assert_eq!(trace.duration_ns(), 1000);
    assert_eq!(events(&trace, 0), 3);
}

#[test]
fn a_writer_that_never_finishes_leaves_a_readable_trace() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("t");
    let mut writer = TraceWriter::create(&dir, false).unwrap();
    writer.begin(&tables()).unwrap();
    let key = writer.add_thread(7, 0, "main").unwrap();
    for i in 0..BUFFER as u64 / 16 + 1 {
        writer.append(key, Record::new(200 + i, 0x8000, (i % 2) as u32)).unwrap();
    }
    drop(writer); // as if killed: the last, unwritten record is gone

    let trace = Trace::open(&dir).unwrap();
    assert_eq!(trace.warnings.len(), 1);
    assert_eq!(trace.total_records(), BUFFER as u64 / 16);
    assert_eq!(trace.meta.threads[0].tid, 7);
    assert!(trace.duration_ns() > 0);
    assert_eq!(events(&trace, 0), BUFFER / 16);
}

#[test]
fn existing_output_is_never_lost_by_accident() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("t");
    TraceWriter::create(&dir, false).unwrap().finish(tables()).unwrap();

    let refused = TraceWriter::create(&dir, false).unwrap_err().to_string();
    assert!(refused.contains("--force"), "{refused}");
    std::fs::write(dir.join("1-0.rec"), [0; 16]).unwrap();
    std::fs::write(dir.join("flame.svg"), "mine").unwrap();
    TraceWriter::create(&dir, true).unwrap();
    assert!(!dir.join("1-0.rec").exists() && !dir.join("meta.json").exists());
    assert!(dir.join("flame.svg").exists(), "files of others stay");

    // A directory that is no trace stays as it is, even with --force.
    let refused = TraceWriter::create(&dir, true).unwrap_err().to_string();
    assert!(refused.contains("not a trace"), "{refused}");
    // An empty one may be used.
    let empty = temp.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    TraceWriter::create(&empty, false).unwrap();
}

#[test]
fn a_missing_parent_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let refused = TraceWriter::create(&temp.path().join("no/t"), false).unwrap_err().to_string();
    assert!(refused.contains("parent"), "{refused}");
}

#[test]
fn a_full_disk_is_one_clear_error_and_the_counts_stay_true() {
    let mut file = ThreadFile {
        path: "/dev/full".into(),
        file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
        buffer: Vec::new(),
        thread: Thread { tid: 1, name: String::new(), file: String::new(), records: 0, lost: 0, ended_tsc: None },
    };
    file.append(Record::new(1, 8, 0)).unwrap();
    let error = file.flush().unwrap_err().to_string();
    assert!(error.contains("no space left"), "{error}");
    assert_eq!((file.thread.records, file.thread.lost), (0, 1));
}

#[test]
fn the_same_thread_id_twice_gets_two_files() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = TraceWriter::create(&temp.path().join("t"), false).unwrap();
    let first = writer.add_thread(7, 0, "a").unwrap();
    let second = writer.add_thread(7, 0, "b").unwrap();
    assert_ne!(first, second);
    let meta = writer.finish(tables()).unwrap();
    assert_ne!(meta.threads[0].file, meta.threads[1].file);
}
