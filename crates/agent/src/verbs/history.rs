//! `history`: the generations.

use std::time::SystemTime;

use agent::{Profile, Result};

/// Prints them, the newest first.
pub fn run() -> Result<()> {
    for generation in Profile::of_machine().generations()?.iter().rev() {
        let mark = if generation.current { '*' } else { ' ' };
        let age = SystemTime::now().duration_since(generation.since);
        println!(
            "{mark} {:>4}  {:>10}  {}",
            generation.number,
            age_in_words(age.unwrap_or_default().as_secs()),
            generation.system
        );
    }
    Ok(())
}

fn age_in_words(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..120 => return "just now".to_owned(),
        120..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_the_unit_that_fits() {
        let words = [60, 120, 7_200, 172_800].map(age_in_words);
        assert_eq!(words, ["just now", "2 min ago", "2 h ago", "2 days ago"]);
    }
}
