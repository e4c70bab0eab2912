//! Every flag, declared and documented in one place.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Builds, ships and tests a fleet of data-science workspaces.
///
/// Exit status: 0 done, 1 something failed, 2 wrong usage or a refused file, 3 something is missing on this machine,
/// 4 refused by the cloud.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,

    /// Read this file instead of the repository's fleet.toml.
    ///
    /// Its folder is taken for the repository. Default: the nearest fleet.toml, from this folder upwards.
    #[arg(long, global = true, value_name = "FILE")]
    pub fleet: Option<PathBuf>,

    /// Print the commands that would run, and run none.
    ///
    /// They can be pasted into a shell. What stands for a result of an earlier command is in capitals. A verb that
    /// runs no commands does what it always does.
    #[arg(long, global = true)]
    pub dry_run: bool,

    /// Print the result as one JSON object on stdout.
    ///
    /// For programs: its keys do not change. Progress and messages go to stderr as ever.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The verbs, each in a file of its own.
#[derive(Subcommand)]
pub enum Verb {
    /// Print the fleet as read, with its defaults filled in.
    ///
    /// Shows what every other verb goes by, and refuses a wrong fleet.toml with the line and the mend.
    Fleet,

    /// Check what this machine has of the programs that are needed.
    ///
    /// Each one is found, too old, or missing, with the command that mends it. Fails with status 3 if one is missing
    /// that no workspace can be shipped without.
    Doctor(DoctorArgs),

    /// Build an image and pack it for Compute Engine.
    ///
    /// The path of the packed file is all that goes to stdout. Nothing is built or packed when nothing has changed.
    Image(ImageArgs),

    /// Bring an image into the project: build, pack, upload, register.
    ///
    /// Nothing is built, packed, uploaded or made when the project has the image already. It can be stopped at any
    /// moment and run again: it goes on where it stopped. The image's path is all that goes to stdout.
    Push(PushArgs),

    /// List the project's workspace images: age, size, revision, and who uses each.
    ///
    /// Those that `push` made, the newest first; other images of the project are left out.
    Images,

    /// Delete old workspace images and their uploads.
    ///
    /// Never one that a machine or a disk was made from, nor the newest of a family. With --dry-run it looks, deletes
    /// nothing, and prints the commands that would.
    Prune(PruneArgs),

    /// Show what `apply` would make, change, replace and destroy, in words.
    ///
    /// Writes nothing. Fails with status 1 if it holds something that `apply` would refuse.
    Plan(ReplaceArg),

    /// Make Google Cloud what fleet.toml says: network, home disks, machines.
    ///
    /// New machines boot the newest image of their workspace or profile that the project has; `up` builds first. It can be
    /// stopped at any moment and run again. Home disks are never deleted by it.
    Apply(ReplaceArg),

    /// From nothing to open workspaces: network, images, systems, home disks, machines, passwords, and wait until they answer.
    ///
    /// Nothing is made twice. It can be stopped at any moment and run again: it goes on where it stopped. Stopped
    /// machines stay stopped.
    Up(UpArgs),

    /// Give running machines their system: build, sign, upload, tell, and wait until they have tried it.
    ///
    /// Each machine fetches it, tries it, and keeps it or goes back by itself. Machines that are off are told as well, and
    /// take it when they start. Ends with a table; fails with status 1 if a machine did not take it.
    Deploy(DeployArgs),

    /// Let machines go back to the system that they ran before the last `deploy`, and wait until they have.
    ///
    /// As they try any other system. Machines that are off are told as well. A second time goes no further back; `deploy`
    /// goes forward again.
    Rollback(RollbackArgs),

    /// Show what would change on a machine with the next `deploy`: packages, versions, sizes.
    ///
    /// Builds the system of this checkout and compares it with what the machine runs. Changes nothing. Packages that were
    /// only built anew, with the same version and about the same size, are left out.
    Diff(DiffArgs),

    /// The bucket that machines fetch systems from.
    #[command(subcommand)]
    Cache(CacheVerb),

    /// List the workspaces: machine, power, system, address, home disk; and the retired home disks.
    ///
    /// SYSTEM says whether a machine runs what it was told to: current, so many deploys behind, testing (on trial), reverted
    /// (it went back), failed (it cannot get it), silent (its agent has not said that it knows), starting, or unassigned
    /// (nothing was deployed); and why, below. A machine's agent says it, or any process on it: it is advice. One call for
    /// each machine that is on.
    Status(StatusArgs),

    /// Start machines that are stopped, and wait until they run.
    Start(NamesArgs),

    /// Stop machines, and wait until they have stopped. What is open on them is lost, what is saved is not.
    Stop(NamesArgs),

    /// Move a workspace to another zone, with all that is on its home disk.
    ///
    /// For when its zone has no machine left. The machine is stopped, its home disk copied, and the machine made anew
    /// beside the copy. It can be stopped at any moment and run again: it goes on where it stopped. Where no zone is named,
    /// a workspace that runs stays where it is.
    Move(MoveArgs),

    /// Print a workspace's password, on stdout alone.
    Password(PasswordArgs),

    /// Open a workspace in the browser.
    ///
    /// A private one through IAP's tunnel, which stays open until this is interrupted.
    Open(OpenArgs),

    /// Run a workspace on this machine, in qemu, and print its link and password.
    ///
    /// For a look before the cloud: the same configuration with a home disk of its own in target/vm/NAME. It runs until
    /// Ctrl-C, which shuts it down. Needs Nix; without KVM it is slow. What differs: docs/vm.md.
    Vm(VmArgs),

    /// Log in to a workspace's machine by SSH, through IAP's tunnel.
    Ssh(SshArgs),

    /// Print what a workspace's machine wrote to its serial port: boot messages, and why it did not boot.
    Logs(LogsArgs),

    /// Destroy the machines, addresses and accounts of all workspaces; home disks stay.
    ///
    /// Asks for the project's id. With --destroy-home-disks it destroys those home disks instead, and asks for each name.
    Destroy(DestroyArgs),

    /// Rehearse all of it against a simulated cloud: no account, no cost.
    ///
    /// Runs the real verbs in a copy of the repository and reports what ran, what was simulated, and what was left out
    /// and why. Fails if a step that ran failed. Needs nothing but Rust; with terraform or tofu it is the whole way, with
    /// Nix the real image.
    Rehearse,

    /// Write the reference of the modules' options, docs/options.md.
    ///
    /// The flake's check `docs-are-fresh` fails while it is not what the modules say.
    Docs(DocsArgs),

    /// Run the tests, lane by lane.
    ///
    /// All chosen lanes run even if one fails. The last line is "N passed, N failed, N skipped".
    Test(TestArgs),
}

/// Flags of `doctor`.
#[derive(Args)]
pub struct DoctorArgs {
    /// Check the project instead: billing, APIs, quotas against the fleet's need, redirect URIs.
    ///
    /// Needs credentials. Fails with status 4 if the project cannot hold the fleet.
    #[arg(long)]
    pub cloud: bool,
}

/// Flags of `image`.
#[derive(Args)]
pub struct ImageArgs {
    /// An image profile (base, cuda) or the name of a workspace.
    ///
    /// A profile's image fits every workspace of that profile; a workspace's own image is that one workspace.
    #[arg(value_name = "PROFILE|NAME", default_value = "base")]
    pub name: String,

    /// Put the packed file into this folder.
    ///
    /// Files of earlier builds are left there. Default: target/images in the repository.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Flags of `push`.
#[derive(Args)]
pub struct PushArgs {
    /// An image profile (base, cuda) or the name of a workspace.
    ///
    /// A profile's image fits every workspace of that profile; a workspace's own image is that one workspace.
    #[arg(value_name = "PROFILE|NAME", default_value = "base")]
    pub name: String,

    #[command(flatten)]
    pub bucket: BucketArg,
}

/// Flags of `prune`.
#[derive(Args)]
pub struct PruneArgs {
    /// Keep this many of each family's newest images.
    ///
    /// What is in use is kept beyond these. Default: 3.
    #[arg(long, value_name = "N", default_value = "3", hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,

    #[command(flatten)]
    pub bucket: BucketArg,
}

/// The bucket that images pass through.
#[derive(Args)]
pub struct BucketArg {
    /// The bucket that images are uploaded to.
    ///
    /// Names of buckets are shared by everyone, so that another project may hold the default one. Default:
    /// PROJECT-workspace-images.
    #[arg(long, value_name = "NAME")]
    pub bucket: Option<String>,
}

/// What is refused without being asked for.
#[derive(Args)]
pub struct ReplaceArg {
    /// Destroy this workspace's machine and make it anew from the newest image; may be given several times.
    ///
    /// What runs on it ends, and its boot disk is lost; its home disk, address and name stay. Default: no machine is
    /// replaced, and a plan that would is refused.
    #[arg(long, value_name = "NAME")]
    pub replace_workspaces: Vec<String>,
}

/// Flags of `up`.
#[derive(Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub replace: ReplaceArg,

    /// Build nothing: new machines boot the newest image of their workspace or profile that the project has.
    ///
    /// For a machine without Nix, when another one has pushed the images. With a profile's image they are nobody's until
    /// they are given a system by `deploy`.
    #[arg(long)]
    pub no_build: bool,
}

/// Which machines.
#[derive(Args)]
pub struct NamesArgs {
    /// Workspaces, one or more.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,

    /// All of them.
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
}

/// Flags of `move`.
#[derive(Args)]
pub struct MoveArgs {
    /// The workspace.
    #[arg(value_name = "NAME")]
    pub name: String,

    /// The zone to move to, any of the fleet's region.
    ///
    /// Default: those of fleet.toml in turn, beginning after the one that it is in, until one has room.
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,

    /// Delete the disk in the old zone once the machine in the new one works, and those of earlier moves.
    ///
    /// Default: they are kept, and cost what they did.
    #[arg(long)]
    pub destroy_old_disk: bool,
}

/// Flags of `status`.
#[derive(Args)]
pub struct StatusArgs {
    /// Look again and again, until Ctrl-C; every so many seconds.
    ///
    /// In a terminal the newest look is drawn over the one before; with --json each is one line. Default: 10 seconds, or as
    /// many as keep the calls below half of what Google allows in a minute.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, value_parser = clap::value_parser!(u64).range(1..))]
    pub watch: Option<Option<u64>>,
}

/// Flags of `deploy`.
#[derive(Args)]
pub struct DeployArgs {
    #[command(flatten)]
    pub names: NamesArgs,

    #[command(flatten)]
    pub rollout: RolloutArgs,
}

/// Flags of `rollback`.
#[derive(Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub names: NamesArgs,

    #[command(flatten)]
    pub rollout: RolloutArgs,
}

/// Flags of `diff`.
#[derive(Args)]
pub struct DiffArgs {
    /// The workspace.
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// How machines are told what to run.
#[derive(Args)]
pub struct RolloutArgs {
    /// How many machines at a time, or how many of a hundred: `5`, `10%`.
    ///
    /// The next wave begins when the last one has decided. Default: all at once.
    #[arg(
        long,
        value_name = "N|P%",
        default_value = "100%",
        hide_default_value = true
    )]
    pub wave: Wave,

    /// Begin no further wave when more machines than this have failed.
    ///
    /// Default: go on.
    #[arg(long, value_name = "N")]
    pub max_failures: Option<usize>,

    /// Minutes that a machine may take to decide. One that is silent is reset, twice at most, and each time has as long again.
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    pub within: u64,

    /// Seconds until the first look at what the machines say; each further one waits twice as long.
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    pub look: u64,
}

/// The size of a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wave {
    /// So many machines.
    Machines(usize),
    /// So many of a hundred.
    Percent(usize),
}

impl Wave {
    /// Of so many machines; at least one.
    pub fn size(self, machines: usize) -> usize {
        match self {
            Self::Machines(count) => count,
            Self::Percent(percent) => (machines * percent).div_ceil(100),
        }
        .max(1)
    }
}

impl std::str::FromStr for Wave {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        match number.parse() {
            Ok(number @ 1..=100) if percent => Ok(Self::Percent(number)),
            Ok(number @ 1..) if !percent => Ok(Self::Machines(number)),
            _ => Err("write it as a number of machines, 5, or of a hundred, 10%".to_owned()),
        }
    }
}

/// Verbs of `cache`.
#[derive(Subcommand)]
pub enum CacheVerb {
    /// Print the public key that machines accept systems by, and write it to hosts/cache-key.pub.
    ///
    /// Makes the key if there is none. Its secret half is in Secret Manager, for deployers alone.
    Key,

    /// Delete from the bucket what no machine runs, is to run, or can go back to.
    ///
    /// What a deploy under way brings stays, and so does what was just uploaded. With --dry-run it looks, deletes nothing,
    /// says how much would go, and prints the command that would delete it.
    Prune(CachePruneArgs),
}

/// Flags of `cache prune`.
#[derive(Args)]
pub struct CachePruneArgs {
    /// Keep what is younger than this many hours, with all that it needs.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub older_than: u32,
}

/// Flags of `password`.
#[derive(Args)]
pub struct PasswordArgs {
    /// The workspace.
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Make a new one and print that. The old one stops working within minutes.
    #[arg(long)]
    pub rotate: bool,
}

/// Flags of `open`.
#[derive(Args)]
pub struct OpenArgs {
    /// The workspace.
    #[arg(value_name = "NAME")]
    pub name: String,

    /// The port on this machine at which a private workspace appears.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,
}

/// Flags of `vm`.
#[derive(Args)]
pub struct VmArgs {
    /// The workspace.
    #[arg(value_name = "NAME")]
    pub name: String,

    /// The port on this machine at which it appears.
    ///
    /// Default: 8443, or any free one if that is taken.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
}

/// Flags of `ssh`.
#[derive(Args)]
pub struct SshArgs {
    /// The workspace.
    #[arg(value_name = "NAME")]
    pub name: String,

    /// What to run there instead of a shell.
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<String>,
}

/// Flags of `logs`.
#[derive(Args)]
pub struct LogsArgs {
    /// The workspace.
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Go on printing what is added, until interrupted.
    #[arg(long)]
    pub follow: bool,
}

/// Flags of `destroy`.
#[derive(Args)]
pub struct DestroyArgs {
    /// Destroy this workspace's home disk, and those that it left in a move, and nothing else; may be given several times.
    ///
    /// The files on it are gone for good; its snapshots stay for two weeks. Its machine must be gone.
    #[arg(long, value_name = "NAME")]
    pub destroy_home_disks: Vec<String>,

    /// The answer to the question, for scripts: the project's id, or the name; may be given several times.
    #[arg(long, value_name = "ANSWER")]
    pub confirm: Vec<String>,
}

/// Flags of `docs`.
#[derive(Args)]
pub struct DocsArgs {
    /// Write nothing, and fail with status 1 if the file is not what the modules say.
    #[arg(long)]
    pub check: bool,
}

/// Flags of `test`.
#[derive(Args)]
pub struct TestArgs {
    /// Run this lane and no other; may be given several times.
    ///
    /// Machines of the lanes vm and reboot need KVM or patience, so these only run when they are named. Default: all
    /// others.
    #[arg(long = "lane", value_name = "LANE")]
    pub lanes: Vec<LaneChoice>,

    /// Run this lane too, and fail if it has to be skipped; may be given several times.
    ///
    /// For continuous integration, where a lane that silently stops running is a hole. Default: none.
    #[arg(long = "require", value_name = "LANE")]
    pub required: Vec<LaneChoice>,
}

/// A lane of `test`, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LaneChoice {
    /// cargo fmt, clippy and the tests of every crate.
    Rust,
    /// The flake's checks: hosts, modules, formatting and the container tests.
    Nix,
    /// Formatting, validity and tests of the terraform roots; tflint and checkov where they are installed.
    Terraform,
    /// cargo xtask rehearse: the real verbs against the simulated cloud.
    Rehearse,
    /// The tests in virtual machines, one after another.
    Vm,
    /// The tests of updates in virtual machines that are reset, lose their power or do not boot.
    Reboot,
    /// Every lane.
    All,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_wave_is_a_number_or_a_share_and_never_empty() {
        let size = |text: &str| text.parse::<Wave>().map(|wave| wave.size(25));
        assert_eq!(size("5"), Ok(5));
        assert_eq!(size("10%"), Ok(3));
        assert_eq!(size("1%"), Ok(1));
        for bad in ["0", "0%", "101%", "-1", "", "%", "ten"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
