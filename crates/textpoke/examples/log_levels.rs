//! Log levels that cost one NOP while they are off: `cargo run --features log --example log_levels`.

use textpoke::log::{LevelFilter, debug, info};

struct Printing;

impl log::Log for Printing {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }
    fn log(&self, record: &log::Record) {
        println!("{:5} {}", record.level(), record.args());
    }
    fn flush(&self) {}
}

fn serve(request: u32) {
    debug!("request {request} has arrived");
    info!("request {request} served");
}

fn main() -> Result<(), textpoke::keys::KeyError> {
    log::set_logger(&Printing).expect("there is no other logger");
    textpoke::log::set_max_level(LevelFilter::Info)?;
    serve(1);
    textpoke::log::set_max_level(LevelFilter::Debug)?;
    serve(2);
    Ok(())
}
