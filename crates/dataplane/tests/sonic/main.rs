//! The SONiC back end with a real Redis server and the emulator of orchagent: what it writes, and
//! what it does when the switch is slow, full, refuses, crashes or restarts. Figures are printed
//! with `--nocapture`.

mod config_db;
mod faults;
mod golden;
mod switch;
mod tcp;
mod writes;
