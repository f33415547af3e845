//! The program on running programs that nobody here wrote, and on ones made for what they have of trouble.

mod bad_input;
mod killed;
mod programs;
mod target;
