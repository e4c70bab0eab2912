//! The programs that xtask runs: why each is needed, how new it must be, and what gets it.

use std::{fs, path::PathBuf};

use crate::{argv, process};

/// The operating systems that the mends are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Debian and what derives from it; also the guess for any other Linux.
    Debian,
    /// NixOS.
    NixOs,
    /// macOS.
    MacOs,
}

impl Platform {
    /// This machine's.
    pub fn here() -> Self {
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Self::of(std::env::consts::OS, &os_release)
    }

    fn of(os: &str, os_release: &str) -> Self {
        if os == "macos" {
            Self::MacOs
        } else if os_release.lines().any(|line| line.trim() == "ID=nixos") {
            Self::NixOs
        } else {
            Self::Debian
        }
    }
}

/// One program, or several of which one will do.
pub struct Tool {
    /// Its name in tables.
    pub name: &'static str,
    /// The programs, the preferred one first.
    pub programs: &'static [&'static str],
    /// Whether no workspace can be shipped without it.
    pub required: bool,
    /// Why it is needed.
    pub why: &'static str,
    /// The oldest version that will do.
    pub at_least: (u32, u32),
    /// The command that gets it on Debian, NixOS, macOS. A newer version comes by the same one.
    mends: [&'static str; 3],
}

impl Tool {
    /// The command that gets it.
    pub fn mend(&self, platform: Platform) -> &'static str {
        self.mends[platform as usize]
    }
}

/// Builds everything that is not Rust.
pub const NIX: Tool = Tool {
    name: "nix",
    programs: &["nix"],
    required: true,
    why: "builds the workspaces and their images",
    at_least: (2, 18),
    mends: [
        "curl -fsSL https://nixos.org/nix/install | sh -s -- --daemon",
        "sudo nixos-rebuild switch --upgrade",
        "curl -fsSL https://nixos.org/nix/install | sh",
    ],
};

/// Makes what the fleet needs in Google Cloud.
pub const TERRAFORM: Tool = Tool {
    name: "tofu or terraform",
    programs: &["tofu", "terraform"],
    required: false,
    why: "makes what the fleet needs in Google Cloud",
    at_least: (1, 9),
    mends: [
        "curl -fsSL https://get.opentofu.org/install-opentofu.sh | sh -s -- --install-method deb",
        "nix-env -iA nixos.opentofu",
        "brew install opentofu",
    ],
};

/// Every program, in the order in which they are shown.
pub const TOOLS: [Tool; 5] = [
    Tool {
        name: "cargo",
        programs: &["cargo"],
        required: true,
        why: "builds xtask and the other crates",
        at_least: (1, 90),
        mends: [
            "curl -fsSL https://sh.rustup.rs | sh",
            "nix-env -iA nixos.cargo nixos.rustc nixos.gcc",
            "curl -fsSL https://sh.rustup.rs | sh",
        ],
    },
    Tool {
        name: "git",
        programs: &["git"],
        required: true,
        why: "Nix builds what git tracks",
        at_least: (2, 30),
        mends: [
            "sudo apt-get install git",
            "nix-env -iA nixos.git",
            "xcode-select --install",
        ],
    },
    NIX,
    TERRAFORM,
    Tool {
        name: "gcloud",
        programs: &["gcloud"],
        required: false,
        why: "signs in to Google Cloud",
        at_least: (400, 0),
        mends: [
            "curl -fsSL https://sdk.cloud.google.com | bash",
            "nix-env -iA nixos.google-cloud-sdk",
            "curl -fsSL https://sdk.cloud.google.com | bash",
        ],
    },
];

/// What was found of a tool.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// One that will do, with its version.
    Good(PathBuf, String),
    /// Only one that is too old, with its version.
    TooOld(PathBuf, String),
    /// One that does not tell its version, with what it does instead.
    Broken(PathBuf, String),
    /// None.
    Missing,
}

/// Looks for a tool on PATH.
pub fn find(tool: &Tool) -> Found {
    let mut best = Found::Missing;
    for path in tool
        .programs
        .iter()
        .filter_map(|program| which::which(program).ok())
    {
        let found = ask(tool, path);
        if matches!(found, Found::Good(..)) {
            return found;
        }
        if best == Found::Missing {
            best = found;
        }
    }
    best
}

fn ask(tool: &Tool, path: PathBuf) -> Found {
    let output = match process::probe(&argv![&path, "--version"]) {
        Ok(output) => output,
        Err(error) => return Found::Broken(path, error.to_string()),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match version(&text).filter(|_| output.status.success()) {
        Some((numbers, version)) if numbers >= tool.at_least => Found::Good(path, version),
        Some((_, version)) => Found::TooOld(path, version),
        None => {
            let what = format!("--version ends with {} and names none", output.status);
            Found::Broken(path, what)
        }
    }
}

/// The first version in a text, such as `2.39.5` in `git version 2.39.5`, and its first two numbers.
fn version(text: &str) -> Option<((u32, u32), String)> {
    text.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches('v');
        let number = |part: &str| -> Option<u32> {
            let end = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            part[..end].parse().ok()
        };
        let mut parts = word.split('.');
        let numbers = (number(parts.next()?)?, number(parts.next()?)?);
        word.starts_with(|c: char| c.is_ascii_digit())
            .then(|| (numbers, word.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_the_programs_print() {
        for (text, expected) in [
            ("git version 2.39.5", (2, 39)),
            ("nix (Nix) 2.34.0pre20260101_abc", (2, 34)),
            ("nix (Lix, like Nix) 2.93.0", (2, 93)),
            ("cargo 1.95.0 (f2d3ce0bd 2026-03-21)", (1, 95)),
            ("Terraform v1.11.4\non linux_amd64", (1, 11)),
            ("OpenTofu v1.9.0\non linux_amd64", (1, 9)),
            ("Google Cloud SDK 500.0.0\nbq 2.1.8", (500, 0)),
        ] {
            assert_eq!(
                version(text).map(|(numbers, _)| numbers),
                Some(expected),
                "{text}"
            );
        }
        assert_eq!(version("no number here"), None);
    }

    #[test]
    fn the_platform_decides_the_mend() {
        assert_eq!(Platform::of("macos", ""), Platform::MacOs);
        assert_eq!(
            Platform::of("linux", "NAME=NixOS\nID=nixos\n"),
            Platform::NixOs
        );
        assert_eq!(Platform::of("linux", "ID=debian\n"), Platform::Debian);
        assert_eq!(
            NIX.mend(Platform::NixOs),
            "sudo nixos-rebuild switch --upgrade"
        );
    }
}
