//! One encoder per serial device.

pub mod bcc;
pub mod intellivue;
pub mod pm6750;
pub mod tm2655;
pub mod ultraeasy;
