//! The Perfetto export, decoded by another implementation of Protocol Buffers.
//!
//! The messages are declared here from Perfetto's schema, independently of the encoder's constants.

mod support;

use std::collections::HashMap;

use prost::Message;
use support::{sample, textpoke};

#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<Packet>,
}

#[derive(Clone, PartialEq, Message)]
struct Packet {
    #[prost(message, optional, tag = "6")]
    clock_snapshot: Option<ClockSnapshot>,
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(message, optional, tag = "12")]
    interned_data: Option<InternedData>,
    #[prost(uint32, optional, tag = "13")]
    sequence_flags: Option<u32>,
    #[prost(bool, optional, tag = "42")]
    previous_packet_dropped: Option<bool>,
    #[prost(message, optional, tag = "59")]
    trace_packet_defaults: Option<Defaults>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
    #[prost(bool, optional, tag = "87")]
    first_packet_on_sequence: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct ClockSnapshot {
    #[prost(message, repeated, tag = "1")]
    clocks: Vec<Clock>,
    #[prost(uint32, optional, tag = "2")]
    primary_trace_clock: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Clock {
    #[prost(uint32, optional, tag = "1")]
    clock_id: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    timestamp: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Defaults {
    #[prost(message, optional, tag = "11")]
    track_event_defaults: Option<EventDefaults>,
    #[prost(uint32, optional, tag = "58")]
    timestamp_clock_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct EventDefaults {
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "3")]
    process: Option<Process>,
    #[prost(message, optional, tag = "4")]
    thread: Option<Thread>,
}

#[derive(Clone, PartialEq, Message)]
struct Process {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(string, repeated, tag = "2")]
    cmdline: Vec<String>,
    #[prost(string, optional, tag = "6")]
    process_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Thread {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    tid: Option<i32>,
    #[prost(string, optional, tag = "5")]
    thread_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    category_iids: Vec<u64>,
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<Annotation>,
    #[prost(uint32, optional, tag = "9")]
    r#type: Option<u32>,
    #[prost(uint64, optional, tag = "10")]
    name_iid: Option<u64>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Annotation {
    #[prost(uint64, optional, tag = "1")]
    name_iid: Option<u64>,
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct InternedData {
    #[prost(message, repeated, tag = "1")]
    event_categories: Vec<Interned>,
    #[prost(message, repeated, tag = "2")]
    event_names: Vec<Interned>,
    #[prost(message, repeated, tag = "3")]
    debug_annotation_names: Vec<Interned>,
}

#[derive(Clone, PartialEq, Message)]
struct Interned {
    #[prost(uint64, optional, tag = "1")]
    iid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

/// What a reader keeps of a packet sequence. Everything is forgotten when the state is cleared.
#[derive(Default)]
struct State {
    names: HashMap<u64, String>,
    categories: HashMap<u64, String>,
    annotations: HashMap<u64, String>,
    track: u64,
}

impl State {
    fn learn(&mut self, packet: &Packet) {
        if let Some(defaults) = &packet.trace_packet_defaults {
            assert_eq!(defaults.timestamp_clock_id, Some(6), "BOOTTIME, the trace's own clock");
            self.track = defaults.track_event_defaults.as_ref().unwrap().track_uuid.unwrap();
        }
        let Some(data) = &packet.interned_data else { return };
        let tables = [
            (&mut self.names, &data.event_names),
            (&mut self.categories, &data.event_categories),
            (&mut self.annotations, &data.debug_annotation_names),
        ];
        for (table, entries) in tables {
            for entry in entries {
                let iid = entry.iid.unwrap();
                assert_ne!(iid, 0, "0 means none");
                table.insert(iid, entry.name.clone().unwrap());
            }
        }
    }
}

/// A finished slice: thread, name, category, begin, end, annotation.
type Slice = (i32, String, String, u64, u64, Option<String>);

/// Reads a trace as Perfetto does, and checks its rules on the way.
fn slices(bytes: &[u8]) -> (Vec<Slice>, usize) {
    let trace = Trace::decode(bytes).unwrap();
    let mut tracks: HashMap<u64, i32> = HashMap::new();
    let mut sequences: HashMap<u32, State> = HashMap::new();
    let mut open: HashMap<u64, Vec<(String, String, u64)>> = HashMap::new();
    let (mut process, mut last) = (None, HashMap::new());
    let (mut slices, mut drops) = (Vec::new(), 0);
    for packet in &trace.packet {
        let now = packet.timestamp.unwrap();
        let sequence = packet.trusted_packet_sequence_id.unwrap();
        if let Some(snapshot) = &packet.clock_snapshot {
            assert_eq!(snapshot.primary_trace_clock, Some(6));
            let clocks: Vec<_> = snapshot.clocks.iter().map(|c| (c.clock_id.unwrap(), c.timestamp.unwrap())).collect();
            assert_eq!(clocks, [(6, 0), (1, 1_795_223_696_000_000_000)]);
        }
        if let Some(track) = &packet.track_descriptor {
            assert_eq!(now, 0, "before any event");
            match (&track.process, &track.thread) {
                (Some(found), None) => {
                    assert_eq!((found.pid, found.process_name.as_deref()), (Some(41), Some("prog")));
                    assert_eq!(found.cmdline, ["/opt/prog", "--fast"]);
                    process = track.uuid;
                }
                (None, Some(thread)) => {
                    assert_eq!((thread.pid, track.parent_uuid), (Some(41), process));
                    assert!(thread.thread_name.is_some());
                    tracks.insert(track.uuid.unwrap(), thread.tid.unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        let Some(event) = &packet.track_event else { continue };
        let flags = packet.sequence_flags.unwrap();
        let is_first = !sequences.contains_key(&sequence);
        assert_eq!(packet.first_packet_on_sequence == Some(true), is_first);
        if packet.previous_packet_dropped == Some(true) {
            drops += 1;
            assert_eq!(flags, 3, "readers drop what depends on lost state");
        }
        if flags & 1 != 0 {
            sequences.insert(sequence, State::default());
        }
        let state = sequences.get_mut(&sequence).expect("the first packet clears the state");
        assert_ne!(flags & 2, 0);
        state.learn(packet);

        assert_eq!(event.track_uuid, None, "the default is shorter");
        let track = state.track;
        let tid = tracks[&track];
        let stack = open.entry(track).or_default();
        let before = last.insert(track, now).unwrap_or(0);
        assert!(now >= before, "time goes on");
        match event.r#type {
            Some(1) => {
                let name = state.names[&event.name_iid.unwrap()].clone();
                let category = state.categories[&event.category_iids[0]].clone();
                stack.push((name, category, now));
            }
            Some(2) => {
                let (name, category, since) = stack.pop().expect("slices nest");
                let remark = event.debug_annotations.first().map(|a| {
                    assert_eq!(state.annotations[&a.name_iid.unwrap()], "exit");
                    a.string_value.clone().unwrap()
                });
                slices.push((tid, name, category, since, now, remark));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(open.values().all(Vec::is_empty), "every slice ends");
    (slices, drops)
}

fn export(args: &[&str]) -> Vec<u8> {
    let temp = tempfile::tempdir().unwrap();
    let dir = sample().write(&temp.path().join("t"));
    let output = textpoke(&[&["export", dir.to_str().unwrap(), "--perfetto", "-"], args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn another_decoder_finds_the_calls() {
    let (slices, drops) = slices(&export(&[]));
    assert_eq!(drops, 1, "once, where records were lost");
    let short: Vec<_> =
        slices.iter().map(|(tid, name, _, since, end, _)| (*tid, name.as_str(), *since, *end)).collect();
    assert_eq!(
        short,
        [
            (41, "app::work", 150, 250),
            (41, "app::work", 100, 300),
            (41, "Base::poll(int)", 400, 500),
            (41, "fork", 500, 500),
            (41, "app::work", 600, 700),
            (41, "main", 0, 1000),
            (42, "app::work", 200, 260),
            (42, "app::work", 350, 360),
        ]
    );
    let remark = |i: usize| slices[i].5.as_deref().unwrap_or("exact");
    assert_eq!(remark(0), "exact");
    assert!(remark(2).starts_with("inferred"));
    assert!(remark(3).starts_with("not traced"));
    assert!(remark(5).starts_with("still running"));
    assert_eq!((slices[2].2.as_str(), slices[0].2.as_str()), ("libbase.so.1.2", "prog"));
}

#[test]
fn a_window_nests_too() {
    let (slices, _) = slices(&export(&["--from", "160ns", "--to", "450ns"]));
    assert_eq!(slices.iter().filter(|s| s.1 == "main").map(|s| (s.3, s.4)).next(), Some((160, 450)));
    assert!(slices.iter().all(|s| s.3 >= 160 && s.4 <= 450), "{slices:?}");
}

#[test]
fn traces_can_be_joined() {
    let one = export(&[]);
    let trace = Trace::decode(&[&one[..], &one[..]].concat()[..]).unwrap();
    assert_eq!(trace.packet.len(), Trace::decode(&one[..]).unwrap().packet.len() * 2);
}
