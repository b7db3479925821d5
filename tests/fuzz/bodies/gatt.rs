//! The targets of Bluetooth LE: a story of visits for each driver, and the values they share.

pub(crate) mod device;
pub(super) mod link;
mod loss;
pub(crate) mod story;
pub(super) mod values;
