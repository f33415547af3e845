//! `log` and `tracing` by static keys: what is off is not evaluated, what is on arrives.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use textpoke::keys;
use tracing::Subscriber;
use tracing::span::{Attributes, Id, Record};

/// `Level` is global, and so are both crates' subscribers.
static TURN: Mutex<()> = Mutex::new(());
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keeping;

impl log::Log for Keeping {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }
    fn log(&self, record: &log::Record) {
        LOGGED.lock().unwrap().push(format!("{} {} {}", record.level(), record.target(), record.args()));
    }
    fn flush(&self) {}
}

#[test]
fn a_level_that_is_off_evaluates_nothing() {
    use textpoke::log::{LevelFilter, debug, error, info, set_max_level, trace, warn};
    let _turn = TURN.lock().unwrap();
    log::set_logger(&Keeping).unwrap();
    let evaluated = AtomicU32::new(0);
    let count = || evaluated.fetch_add(1, SeqCst);
    let all = || {
        error!("{}", count());
        warn!(target: "elsewhere", "{}", count());
        info!("{}", count());
        debug!("{}", count());
        trace!("{}", count());
        std::mem::take(&mut *LOGGED.lock().unwrap())
    };
    assert!(all().is_empty() && evaluated.load(SeqCst) == 0, "off until asked for");
    set_max_level(LevelFilter::Warn).unwrap();
    assert_eq!(all(), ["ERROR adapters 0", "WARN elsewhere 1"]);
    set_max_level(LevelFilter::Trace).unwrap();
    assert_eq!(all().len(), 5);
    set_max_level(LevelFilter::Off).unwrap();
    assert!(all().is_empty() && evaluated.load(SeqCst) == 7);
}

struct Listening(tracing::Level);

static EVENTS: AtomicU32 = AtomicU32::new(0);
static SPANS: AtomicU32 = AtomicU32::new(0);

impl Subscriber for Listening {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= self.0
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1 + u64::from(SPANS.fetch_add(1, SeqCst)))
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        EVENTS.fetch_add(1, SeqCst);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_callsite_follows_the_interest_in_it() {
    use textpoke::tracing::{Level, debug, event, info, span};
    let _turn = TURN.lock().unwrap();
    let evaluated = AtomicU32::new(0);
    let work = || {
        let span = span!(Level::DEBUG, "work", n = 1);
        debug!(n = evaluated.fetch_add(1, SeqCst), "in detail");
        info!("done");
        event!(Level::TRACE, "more");
        span.is_disabled()
    };
    let on = || {
        let mine = |key: &&keys::Found| key.name.starts_with("adapters::") && key.name.ends_with("KEY");
        keys::all().unwrap().iter().filter(mine).filter(|key| key.value != 0).count()
    };
    assert_eq!(on(), 4, "each is on until it is reached");
    assert!(work());
    assert_eq!((on(), evaluated.load(SeqCst)), (0, 0), "nobody listens");
    tracing::subscriber::with_default(Listening(Level::INFO), || {
        assert_eq!(on(), 1);
        assert!(work());
        assert_eq!((EVENTS.load(SeqCst), evaluated.load(SeqCst)), (1, 0));
    });
    tracing::subscriber::with_default(Listening(Level::DEBUG), || {
        assert_eq!(on(), 3);
        assert!(!work());
        assert_eq!((EVENTS.load(SeqCst), SPANS.load(SeqCst), evaluated.load(SeqCst)), (3, 1, 1));
    });
    tracing::callsite::rebuild_interest_cache();
    assert_eq!(on(), 0, "nobody listens any more");
}
