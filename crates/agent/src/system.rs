use std::{fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

/// A system's closure: the store path of its toplevel, checked for its form.
///
/// It goes into command lines and URLs, and comes from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct System(String);

/// The form is Nix's: 32 digits of its base 32, then a name of at most 211 characters.
fn is_store_path(text: &str) -> bool {
    let Some((hash, name)) = text
        .strip_prefix("/nix/store/")
        .and_then(|rest| rest.split_at_checked(32))
    else {
        return false;
    };
    let in_name = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    hash.chars()
        .all(|c| "0123456789abcdfghijklmnpqrsvwxyz".contains(c))
        && name.strip_prefix('-').is_some_and(|name| {
            (1..=211).contains(&name.len()) && !name.starts_with('.') && name.chars().all(in_name)
        })
}

impl System {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a path.
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// Its hash, eight characters of which tell systems apart for people.
    pub fn short(&self) -> &str {
        &self.0[11..19]
    }
}

impl FromStr for System {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for System {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_store_path(&text) {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is no path of the Nix store"))
        }
    }
}

impl From<System> for String {
    fn from(system: System) -> Self {
        system.0
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_store_paths_are_systems() {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        let good = format!("/nix/store/{hash}-nixos-system-alice-26.05");
        assert_eq!(good.parse::<System>().unwrap().short(), "01234567");
        for bad in [
            String::new(),
            "/nix/store/".into(),
            format!("/nix/store/{hash}"),
            format!("/nix/store/{hash}-"),
            format!("/nix/store/{hash}-.hidden"),
            format!("/nix/store/{hash}-a/../../../bin/sh"),
            format!("/nix/store/{hash}-a b"),
            format!("/nix/store/{hash}-a\n"),
            format!("/nix/store/{hash}-{}", "a".repeat(212)),
            format!("/nix/store/{}-a", hash.replace('0', "e")),
            format!("/nix/store/ä{}-a", &hash[2..]),
            format!("/gnu/store/{hash}-a"),
        ] {
            assert!(bad.parse::<System>().is_err(), "{bad:?}");
        }
    }
}
