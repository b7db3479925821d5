//! uplink-proto
