//! imagepack

fn main() {}
