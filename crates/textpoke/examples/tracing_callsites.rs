//! Callsites that cost one NOP while nobody wants them: `cargo run --features tracing --example tracing_callsites`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use textpoke::tracing::{Level, debug, info, span};
use tracing::Subscriber;
use tracing::span::{Attributes, Id, Record};

/// Prints the target and line of what is at most this detailed.
struct Printing(Level);

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Subscriber for Printing {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= self.0
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        println!("span {}", span.metadata().name());
        Id::from_u64(NEXT.fetch_add(1, Relaxed))
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        println!("{} {}", event.metadata().level(), event.metadata().name());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn serve(request: u32) {
    let _span = span!(Level::INFO, "serve", request).entered();
    debug!(request, "arrived");
    info!(request, "served");
}

fn main() {
    println!("nobody listens:");
    serve(1);
    println!("INFO:");
    tracing::subscriber::with_default(Printing(Level::INFO), || serve(2));
    println!("DEBUG:");
    tracing::subscriber::with_default(Printing(Level::DEBUG), || serve(3));
}
