//! One encoder per serial device; how rude it is and what is on its way stand beside them.

pub(crate) mod temper;
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
