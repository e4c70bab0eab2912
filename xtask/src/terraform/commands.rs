//! The commands of a root.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::Mode;
use crate::{argv, process::Argv};

/// The commands of one root, which are printed for `--dry-run` as well.
pub struct Commands<'a> {
    pub program: &'a Path,
    pub folder: PathBuf,
}

impl Commands<'_> {
    pub fn verb(&self, verb: &str) -> Argv {
        let mut chdir = OsString::from("-chdir=");
        chdir.push(&self.folder);
        argv![self.program, chdir, verb]
    }

    /// Fetches the provider and finds the state.
    pub fn init(&self, backend: &[String]) -> Argv {
        let mut command = self.verb("init");
        command.extend(argv!["-input=false", "-no-color", "-reconfigure"]);
        command.extend(
            backend
                .iter()
                .map(|line| format!("-backend-config={line}").into()),
        );
        command
    }

    /// A plan is made without a lock of the state: making one writes nothing, and one that was overtaken is refused
    /// when it is applied.
    pub fn plan(&self, mode: Mode) -> Argv {
        let mut command = self.verb("plan");
        command.extend(argv!["-json", "-input=false", "-lock=false"]);
        command.extend(argv!["-var-file=fleet.tfvars.json", "-out=plan"]);
        match mode {
            Mode::Normal { replace } => {
                command.extend(
                    replace
                        .iter()
                        .map(|address| format!("-replace={address}").into()),
                );
            }
            Mode::Destroy => command.push("-destroy".into()),
            Mode::Only { targets } => {
                command.extend(
                    targets
                        .iter()
                        .map(|address| format!("-target={address}").into()),
                );
            }
        }
        command
    }

    /// What a saved plan does.
    pub fn show(&self) -> Argv {
        let mut command = self.verb("show");
        command.extend(argv!["-json", "plan"]);
        command
    }

    /// Does what a saved plan says.
    pub fn apply(&self) -> Argv {
        let mut command = self.verb("apply");
        command.extend(argv!["-json", "-input=false", "plan"]);
        command
    }

    /// Takes resources out of the state, and leaves them be; none if there are none.
    pub fn forget(&self, addresses: &[String]) -> Option<Argv> {
        let mut command = self.verb("state");
        command.extend(argv!["rm", "-no-color"]);
        command.extend(addresses.iter().map(Into::into));
        (!addresses.is_empty()).then_some(command)
    }

    /// Breaks a lock of the state.
    pub fn unlock(&self, id: &str) -> Argv {
        let mut command = self.verb("force-unlock");
        command.extend(argv!["-force", id]);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::display;

    #[test]
    fn each_root_runs_exactly_its_commands() {
        let program = Path::new("terraform");
        let commands = Commands {
            program,
            folder: "t/fleet".into(),
        };
        let backend = ["bucket=b".to_owned(), "prefix=fleet".to_owned()];
        let all = [
            commands.init(&backend),
            commands.plan(Mode::NORMAL),
            commands.show(),
            commands.apply(),
        ];
        assert_eq!(
            all.map(|command| display(&command)),
            [
                "terraform -chdir=t/fleet init -input=false -no-color -reconfigure -backend-config=bucket=b \
                 -backend-config=prefix=fleet",
                "terraform -chdir=t/fleet plan -json -input=false -lock=false -var-file=fleet.tfvars.json -out=plan",
                "terraform -chdir=t/fleet show -json plan",
                "terraform -chdir=t/fleet apply -json -input=false plan",
            ]
        );
        assert!(commands.plan(Mode::Destroy).contains(&"-destroy".into()));
        let replace = ["a.b[\"c\"]".to_owned()];
        let replacing = commands.plan(Mode::Normal { replace: &replace });
        assert!(replacing.contains(&"-replace=a.b[\"c\"]".into()));
        let targets = ["a.b[\"c\"]".to_owned()];
        let only = commands.plan(Mode::Only { targets: &targets });
        assert!(only.contains(&"-target=a.b[\"c\"]".into()));
        assert_eq!(
            display(&commands.forget(&targets).unwrap()),
            "terraform -chdir=t/fleet state rm -no-color 'a.b[\"c\"]'"
        );
        assert_eq!(commands.forget(&[]), None);
        assert_eq!(
            display(&commands.unlock("7")),
            "terraform -chdir=t/fleet force-unlock -force 7"
        );
    }
}
