//! Projects: every id that is named exists.

/// A project's number: 12 digits, the same for the same id in every run (FNV-1a).
pub fn number(project: &str) -> String {
    let hash = project
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (100_000_000_000 + hash % 900_000_000_000).to_string()
}
