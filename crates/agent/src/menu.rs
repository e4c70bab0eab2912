//! The boot menu, as `bootctl` tells of it.

use serde::Deserialize;

use crate::{Kind, Result, System, process};

/// Has the next boot choose a system's entry, and only that one.
///
/// # Errors
/// The menu has no such entry, or the firmware keeps no variables.
pub fn choose_once(system: &System) -> Result<()> {
    let menu = process::read("bootctl", |bootctl| {
        bootctl.args(["list", "--json=short"]);
    })?;
    let entry = entry(&menu, system).ok_or_else(|| {
        Kind::Failed.error(
            format!("the boot menu has no entry of {system}"),
            "Look at what it has: bootctl list",
        )
    })?;
    process::read("bootctl", |bootctl| {
        bootctl.arg("set-oneshot").arg(entry);
    })?;
    Ok(())
}

/// The id of a system's entry. It is found by what it boots: NixOS 26.05 names entries after
/// generations, later ones after a hash of what they say.
fn entry(menu: &str, system: &System) -> Option<String> {
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        // Those of other operating systems have none.
        #[serde(default)]
        options: String,
    }
    let entries: Vec<Entry> = serde_json::from_str(menu).ok()?;
    let init = format!("init={system}/init");
    let boots = |entry: &Entry| entry.options.split_whitespace().any(|word| word == init);
    entries.into_iter().find(boots).map(|entry| entry.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_the_system_that_it_boots() {
        let path = |c: &str| format!("/nix/store/{}-nixos-system", c.repeat(32));
        let menu = format!(
            r#"[
                {{"type": "auto", "id": "auto-reboot-to-firmware-setup", "title": "Firmware"}},
                {{"type": "type1", "id": "nixos-1f.conf", "options": "init={0}/specialisation/init quiet"}},
                {{"type": "type1", "id": "nixos-2e.conf", "options": "init={0}/init console=ttyS0"}},
                {{"type": "type1", "id": "nixos-generation-3.conf", "options": "panic=30 init={1}/init"}}
            ]"#,
            path("a"),
            path("b"),
        );
        let found = |c: &str| entry(&menu, &path(c).parse().unwrap());
        assert_eq!(found("a").as_deref(), Some("nixos-2e.conf"));
        assert_eq!(found("b").as_deref(), Some("nixos-generation-3.conf"));
        assert_eq!(found("c"), None);
        assert_eq!(entry("no menu", &path("a").parse().unwrap()), None);
    }
}
