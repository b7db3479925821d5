//! Where virtual devices appear.

pub mod pty;
