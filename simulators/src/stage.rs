//! Where virtual devices appear.

pub mod bluez;
pub mod pty;
