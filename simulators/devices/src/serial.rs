//! One encoder per serial device; what is on its way stands beside them.

mod wire;

pub mod asena;
pub mod bcc;
pub mod hbp9030;
pub mod intellivue;
pub mod json_lines;
pub mod pm6750;
pub mod td42xx;
pub mod tm2655;
pub mod ultraeasy;
