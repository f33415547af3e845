//! Perfetto traces (<https://perfetto.dev>): one process track, one track and one packet sequence
//! per thread, names interned per sequence, a slice per call.
//!
//! Times are nanoseconds since the start of the trace on the clock BOOTTIME. That is Perfetto's own
//! trace clock, so nothing needs converting; one snapshot ties it to the wall clock.

use super::proto::Message;
use crate::data::event::{Event, How, Sink};
use crate::data::filter::Filter;
use crate::data::trace::Trace;
use crate::error::Result;
use crate::names;
use crate::output::Output;
use crate::report::table;

/// Field numbers, named as in the schema (`message::field`).
mod field {
    pub(super) mod trace {
        pub(crate) const PACKET: u32 = 1;
    }
    pub(super) mod packet {
        pub(crate) const CLOCK_SNAPSHOT: u32 = 6;
        pub(crate) const TIMESTAMP: u32 = 8;
        pub(crate) const SEQUENCE_ID: u32 = 10;
        pub(crate) const TRACK_EVENT: u32 = 11;
        pub(crate) const INTERNED_DATA: u32 = 12;
        pub(crate) const SEQUENCE_FLAGS: u32 = 13;
        pub(crate) const PREVIOUS_PACKET_DROPPED: u32 = 42;
        pub(crate) const DEFAULTS: u32 = 59;
        pub(crate) const TRACK_DESCRIPTOR: u32 = 60;
        pub(crate) const FIRST_ON_SEQUENCE: u32 = 87;
    }
    pub(super) mod defaults {
        pub(crate) const TRACK_EVENT: u32 = 11;
        pub(crate) const CLOCK_ID: u32 = 58;
    }
    pub(super) mod track {
        pub(crate) const UUID: u32 = 1;
        pub(crate) const PROCESS: u32 = 3;
        pub(crate) const THREAD: u32 = 4;
        pub(crate) const PARENT: u32 = 5;
    }
    pub(super) mod process {
        pub(crate) const PID: u32 = 1;
        pub(crate) const COMMAND_LINE: u32 = 2;
        pub(crate) const NAME: u32 = 6;
        pub(crate) const LABELS: u32 = 8;
    }
    pub(super) mod thread {
        pub(crate) const PID: u32 = 1;
        pub(crate) const TID: u32 = 2;
        pub(crate) const NAME: u32 = 5;
    }
    pub(super) mod clock {
        pub(crate) const CLOCKS: u32 = 1;
        pub(crate) const PRIMARY: u32 = 2;
        pub(crate) const ID: u32 = 1;
        pub(crate) const TIMESTAMP: u32 = 2;
    }
    pub(super) mod event {
        pub(crate) const CATEGORY_IIDS: u32 = 3;
        pub(crate) const ANNOTATIONS: u32 = 4;
        pub(crate) const TYPE: u32 = 9;
        pub(crate) const NAME_IID: u32 = 10;
        pub(crate) const TRACK_UUID: u32 = 11;
    }
    pub(super) mod interned {
        pub(crate) const CATEGORIES: u32 = 1;
        pub(crate) const NAMES: u32 = 2;
        pub(crate) const ANNOTATION_NAMES: u32 = 3;
        pub(crate) const IID: u32 = 1;
        pub(crate) const NAME: u32 = 2;
    }
    pub(super) mod annotation {
        pub(crate) const NAME_IID: u32 = 1;
        pub(crate) const STRING: u32 = 6;
    }
}

const REALTIME: u64 = 1;
const BOOTTIME: u64 = 6;
const STATE_CLEARED: u64 = 1;
const NEEDS_STATE: u64 = 2;
const SLICE_BEGIN: u64 = 1;
const SLICE_END: u64 = 2;

/// The only interned annotation name.
const EXIT_IID: u64 = 1;
const EXIT_NAME: &str = "exit";

/// Writes the trace; `note` is shown beside the process name (for example that it was cut).
/// `progress` is told how many records were read.
///
/// # Errors
/// Reading the trace or writing the output.
pub fn write(
    trace: &Trace,
    filter: Filter,
    note: Option<&str>,
    out: &mut Output,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut packets = Packets { out, whole: Message::default() };
    describe_process(trace, note, &mut packets)?;
    let files = Files::new(trace);
    for index in 0..trace.meta.threads.len() {
        describe_thread(trace, index, &mut packets)?;
        let mut sequence = Sequence {
            trace,
            files: &files,
            packets: &mut packets,
            id: index as u64 + 2,
            track: thread_uuid(trace, index),
            named: vec![false; trace.meta.functions.len()],
            categories: vec![false; files.names.len()],
            state: State::Fresh,
            packet: Message::default(),
            event: Message::default(),
            interned: Message::default(),
        };
        trace.walk(index, filter, &mut sequence, progress)?;
    }
    Ok(())
}

/// Frames packets: a trace file is one `Trace` message, and concatenation appends to it.
struct Packets<'a> {
    out: &'a mut Output,
    whole: Message,
}

impl Packets<'_> {
    fn write(&mut self, packet: &Message) -> Result<()> {
        self.whole.clear();
        self.whole.message(field::trace::PACKET, packet);
        self.out.put(self.whole.as_bytes())
    }
}

/// ELF files by number, so that each is interned once per sequence as a category.
struct Files<'a> {
    names: Vec<&'a str>,
    of_function: Vec<usize>,
}

impl<'a> Files<'a> {
    fn new(trace: &'a Trace) -> Self {
        let mut numbers = std::collections::HashMap::new();
        let mut names = Vec::new();
        let mut of_function = Vec::with_capacity(trace.meta.functions.len());
        for function in &trace.meta.functions {
            let number = *numbers.entry(function.file.as_str()).or_insert_with(|| {
                names.push(names::base_name(&function.file));
                names.len() - 1
            });
            of_function.push(number);
        }
        Self { names, of_function }
    }
}

fn describe_process(trace: &Trace, note: Option<&str>, packets: &mut Packets<'_>) -> Result<()> {
    let meta = &trace.meta;
    let mut packet = Message::default();
    packet.uint(field::packet::TIMESTAMP, 0).uint(field::packet::SEQUENCE_ID, 1);
    packet.nested(field::packet::CLOCK_SNAPSHOT, |snapshot| {
        for (id, now) in [(BOOTTIME, 0), (REALTIME, meta.started_unix_ns)] {
            snapshot.nested(field::clock::CLOCKS, |clock| {
                clock.uint(field::clock::ID, id).uint(field::clock::TIMESTAMP, now);
            });
        }
        snapshot.uint(field::clock::PRIMARY, BOOTTIME);
    });
    packets.write(&packet)?;

    packet.clear();
    packet.uint(field::packet::TIMESTAMP, 0).uint(field::packet::SEQUENCE_ID, 1);
    packet.nested(field::packet::TRACK_DESCRIPTOR, |track| {
        track.uint(field::track::UUID, process_uuid(trace));
        track.nested(field::track::PROCESS, |process| {
            process.uint(field::process::PID, u64::from(meta.pid));
            for argument in &meta.command {
                process.text(field::process::COMMAND_LINE, argument);
            }
            process.text(field::process::NAME, table::program(trace));
            if let Some(note) = note {
                process.text(field::process::LABELS, note);
            }
        });
    });
    packets.write(&packet)
}

fn describe_thread(trace: &Trace, index: usize, packets: &mut Packets<'_>) -> Result<()> {
    let thread = &trace.meta.threads[index];
    let mut packet = Message::default();
    packet.uint(field::packet::TIMESTAMP, 0).uint(field::packet::SEQUENCE_ID, 1);
    packet.nested(field::packet::TRACK_DESCRIPTOR, |track| {
        track.uint(field::track::UUID, thread_uuid(trace, index));
        track.uint(field::track::PARENT, process_uuid(trace));
        track.nested(field::track::THREAD, |message| {
            message.uint(field::thread::PID, u64::from(trace.meta.pid));
            message.uint(field::thread::TID, u64::from(thread.tid));
            if !thread.name.is_empty() {
                message.text(field::thread::NAME, &thread.name);
            }
        });
    });
    packets.write(&packet)
}

/// Track ids must differ also between traces that are concatenated.
fn uuid(trace: &Trace, salt: u64) -> u64 {
    let mut x = trace.meta.started_unix_ns ^ u64::from(trace.meta.pid).rotate_left(40) ^ salt;
    // The finaliser of SplitMix64 spreads neighbouring inputs over all bits.
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).max(1)
}

fn process_uuid(trace: &Trace) -> u64 {
    uuid(trace, 0)
}

fn thread_uuid(trace: &Trace, index: usize) -> u64 {
    uuid(trace, (index as u64 + 1) << 20)
}

/// What the next packet of a sequence must say about its incremental state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was written yet.
    Fresh,
    /// Records are missing before the next packet. Readers forget all interned names then.
    AfterLoss,
    Established,
}

/// The packets of one thread.
struct Sequence<'a, 'o> {
    trace: &'a Trace,
    files: &'a Files<'a>,
    packets: &'a mut Packets<'o>,
    id: u64,
    track: u64,
    /// Which functions' names are interned in the current state.
    named: Vec<bool>,
    categories: Vec<bool>,
    state: State,
    packet: Message,
    event: Message,
    interned: Message,
}

impl Sequence<'_, '_> {
    fn begin(&mut self, function: u32, ns: u64) -> Result<()> {
        let number = function as usize;
        let file = self.files.of_function[number];
        // Interned ids start at 1; 0 means none.
        let (name_iid, category_iid) = (number as u64 + 1, file as u64 + 1);
        self.start_packet(ns);
        self.event.clear();
        self.event.uint(field::event::TYPE, SLICE_BEGIN);
        self.event.uint(field::event::NAME_IID, name_iid);
        self.event.uint(field::event::CATEGORY_IIDS, category_iid);
        if !std::mem::replace(&mut self.named[number], true) {
            let name = names::demangle(&self.trace.meta.functions[number].name);
            intern(&mut self.interned, field::interned::NAMES, name_iid, &name);
        }
        if !std::mem::replace(&mut self.categories[file], true) {
            let name = self.files.names[file];
            intern(&mut self.interned, field::interned::CATEGORIES, category_iid, name);
        }
        self.finish_packet()
    }

    fn end(&mut self, ns: u64, how: How) -> Result<()> {
        self.start_packet(ns);
        self.event.clear();
        self.event.uint(field::event::TYPE, SLICE_END);
        let remark = match how {
            How::Exact => None,
            How::Inferred => Some("inferred from what the thread did next"),
            How::Unfinished => Some("still running when the trace ended"),
            How::Counted => Some("not traced: the duration is unknown"),
        };
        if let Some(remark) = remark {
            self.event.nested(field::event::ANNOTATIONS, |annotation| {
                annotation.uint(field::annotation::NAME_IID, EXIT_IID);
                annotation.text(field::annotation::STRING, remark);
            });
        }
        self.finish_packet()
    }

    fn start_packet(&mut self, ns: u64) {
        self.packet.clear();
        self.interned.clear();
        self.packet.uint(field::packet::TIMESTAMP, ns);
        self.packet.uint(field::packet::SEQUENCE_ID, self.id);
        let state = std::mem::replace(&mut self.state, State::Established);
        if state == State::Established {
            self.packet.uint(field::packet::SEQUENCE_FLAGS, NEEDS_STATE);
            return;
        }
        self.packet.uint(field::packet::SEQUENCE_FLAGS, STATE_CLEARED | NEEDS_STATE);
        match state {
            State::Fresh => self.packet.yes(field::packet::FIRST_ON_SEQUENCE),
            _ => self.packet.yes(field::packet::PREVIOUS_PACKET_DROPPED),
        };
        let track = self.track;
        self.packet.nested(field::packet::DEFAULTS, |defaults| {
            defaults.uint(field::defaults::CLOCK_ID, BOOTTIME);
            defaults.nested(field::defaults::TRACK_EVENT, |event| {
                event.uint(field::event::TRACK_UUID, track);
            });
        });
        intern(&mut self.interned, field::interned::ANNOTATION_NAMES, EXIT_IID, EXIT_NAME);
    }

    fn finish_packet(&mut self) -> Result<()> {
        if !self.interned.is_empty() {
            self.packet.message(field::packet::INTERNED_DATA, &self.interned);
        }
        self.packet.message(field::packet::TRACK_EVENT, &self.event);
        self.packets.write(&self.packet)
    }
}

fn intern(into: &mut Message, kind: u32, iid: u64, name: &str) {
    into.nested(kind, |entry| {
        entry.uint(field::interned::IID, iid).text(field::interned::NAME, name);
    });
}

impl Sink for Sequence<'_, '_> {
    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Enter { function, ns } => self.begin(function, ns),
            Event::Exit { ns, how, .. } => self.end(ns, how),
            Event::Lost { .. } => {
                if self.state == State::Established {
                    self.state = State::AfterLoss;
                    self.named.fill(false);
                    self.categories.fill(false);
                }
                Ok(())
            }
        }
    }
}
