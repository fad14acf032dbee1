//! The page of the daemon in a real browser, with a real daemon, real rules and real packets.
//!
//! `UPDATE=1` writes the pictures of the manual; without it they are in `target/page`.

mod accessibility;
mod acting;
mod hostile;
mod many;
mod place;
mod serving;
mod story;
mod views;
