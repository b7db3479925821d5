//! virtual-devices
