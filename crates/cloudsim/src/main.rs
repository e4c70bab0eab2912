//! cloudsim

fn main() {}
