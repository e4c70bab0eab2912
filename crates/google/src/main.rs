//! google

fn main() {}
