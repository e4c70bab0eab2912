//! `vm`: a workspace on this machine, in qemu.
//!
//! What outlives a run lies in `target/vm/NAME`: the boot disk, the home disk, the password, the console's text.

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;
use signal_hook::{consts, flag};

use crate::{
    argv,
    cli::{Cli, VmArgs},
    error::Kind,
    fleet::Workspace,
    output,
    process::{self, Argv},
    stack::Stack,
    verbs::{image, password},
};

/// Where the page appears unless something else does there.
const PORT: u16 = 8443;

/// How long the machine may take to shut down before it is switched off.
const SHUTDOWN: Duration = Duration::from_secs(90);

/// Runs it until it is interrupted or shuts down by itself.
pub fn run(cli: &Cli, args: &VmArgs) -> Result<()> {
    let stack = Stack::read(cli)?;
    let workspace = stack.workspace(&args.name)?;
    let root = image::repository(cli)?;
    let vm = Vm {
        workspace,
        folder: root.join("target/vm").join(&args.name),
    };
    if cli.dry_run {
        let port = args.port.unwrap_or(PORT);
        output::plan(cli, &[vm.build_command(), vm.run_command(port)]);
        return Ok(());
    }
    image::can_build(env::consts::OS, env::consts::ARCH)?;
    image::need_nix()?;
    let _lock = vm.lock()?;
    vm.make_home_disk()?;
    let password = if vm.is_public() {
        Some(vm.password()?)
    } else {
        None
    };
    process::run(&root, &vm.build_command())?;
    let port = free_port(args.port)?;
    if !Path::new("/dev/kvm").exists() {
        eprintln!("no KVM on this machine: the processor is emulated, and booting takes minutes");
    } else if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        eprintln!(
            "KVM cannot be used ({error}): the processor is emulated, and booting takes minutes"
        );
        eprintln!("To be let in: sudo usermod --append --groups kvm $USER, then log in anew");
    }
    vm.serve(cli, &root, port, password.as_deref())
}

/// A workspace, and the folder of its machine.
struct Vm<'a> {
    workspace: &'a Workspace,
    folder: PathBuf,
}

impl Vm<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether it has a login of its own, and HTTPS.
    fn is_public(&self) -> bool {
        self.workspace.domain.is_some()
    }

    fn installable(&self) -> String {
        let name = &self.workspace.name;
        format!(".#nixosConfigurations.{name}.config.system.build.vm")
    }

    fn build_command(&self) -> Argv {
        let mut command = nix("build");
        command.extend(argv!["--no-link", self.installable()]);
        command
    }

    /// The script that NixOS makes takes the boot disk and the port from variables, all else goes to qemu.
    fn run_command(&self, port: u16) -> Argv {
        let (scheme_port, name) = (
            if self.is_public() { 443 } else { 80 },
            &self.workspace.name,
        );
        let mut boot_disk = OsString::from("NIX_DISK_IMAGE=");
        boot_disk.push(self.file("boot.qcow2"));
        let mut command = nix("shell");
        command.extend(argv![
            self.installable(),
            "--command",
            "env",
            boot_disk,
            format!("QEMU_NET_OPTS=hostfwd=tcp:127.0.0.1:{port}-:{scheme_port}"),
            format!("run-{name}-vm"),
            "-drive",
            self.qemu_value("if=none,id=home,format=raw,discard=unmap,file=", "home.raw"),
            "-device",
            "virtio-blk-pci,drive=home,serial=home",
            "-serial",
            self.qemu_value("file:", "console.log"),
            // Where it is asked to shut down.
            "-monitor",
            "stdio",
        ]);
        if self.is_public() {
            let credential = "name=opt/io.systemd.credentials/workspace.password,file=";
            command.extend(argv!["-fw_cfg", self.qemu_value(credential, "password")]);
        }
        command
    }

    /// A value that ends in a file's path, in which qemu wants every comma twice.
    fn qemu_value(&self, before: &str, file: &str) -> String {
        let path = self.file(file);
        format!("{before}{}", path.to_string_lossy().replace(',', ",,"))
    }

    /// Held while it runs, so that nothing uses its disks twice.
    fn lock(&self) -> Result<File> {
        let context = || format!("cannot use {}", self.folder.display());
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(&self.folder).with_context(context)?;
        let lock = File::create(self.file(".lock")).with_context(context)?;
        if lock.try_lock().is_ok() {
            return Ok(lock);
        }
        Err(Kind::Failed.error(
            format!("{} runs on this machine already", self.workspace.name),
            "End it with Ctrl-C first.",
        ))
    }

    /// Sparse: it takes the room of what is on it. It grows with fleet.toml, as in the cloud, and never shrinks.
    fn make_home_disk(&self) -> Result<()> {
        let path = self.file("home.raw");
        let size = u64::try_from(self.workspace.home_disk_gb)? << 30;
        let mut disk = OpenOptions::new();
        disk.append(true).create(true).mode(0o600);
        disk.open(&path)
            .and_then(|disk| {
                let size = size.max(disk.metadata()?.len());
                disk.set_len(size)
            })
            .with_context(|| format!("cannot make {}", path.display()))
    }

    /// The same at every run, so that browsers can keep it.
    fn password(&self) -> Result<String> {
        let path = self.file("password");
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => return read.with_context(|| format!("cannot read {}", path.display())),
        }
        let (password, new) = (password::make()?, self.file("password.new"));
        let mut file = OpenOptions::new();
        file.write(true).create(true).truncate(true).mode(0o600);
        file.open(&new)
            .and_then(|mut file| file.write_all(password.as_bytes()))
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(password)
    }

    fn serve(&self, cli: &Cli, root: &Path, port: u16, password: Option<&str>) -> Result<()> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [consts::SIGINT, consts::SIGTERM, consts::SIGHUP] {
            flag::register(signal, Arc::clone(&interrupted))?;
        }
        let console = self.file("console.log");
        let mut machine = process::start(root, &self.run_command(port))?;
        eprintln!("process {}, console {}", machine.id(), console.display());
        eprintln!("Ctrl-C shuts it down");
        let mut open = false;
        loop {
            if let Some(status) = machine.try_wait()? {
                return self.ended(status);
            }
            if interrupted.swap(false, Ordering::Relaxed) {
                shut_down(&mut machine, &interrupted)?;
                let (name, folder) = (&self.workspace.name, self.folder.display());
                eprintln!("{name} is off; its disks stay in {folder}");
                return Ok(());
            }
            if !open && answers(port) {
                open = true;
                self.report(cli, port, password);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn report(&self, cli: &Cli, port: u16, password: Option<&str>) {
        let scheme = if self.is_public() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{port}/");
        if cli.json {
            let name = &self.workspace.name;
            println!(
                "{}",
                json!({ "name": name, "url": url, "password": password })
            );
            return;
        }
        println!("link      {url}");
        if let Some(password) = password {
            println!("password  {password}");
            eprintln!("the browser warns of the certificate, which the machine has made itself");
        }
    }

    fn ended(&self, status: ExitStatus) -> Result<()> {
        if status.success() {
            eprintln!("{} has shut down", self.workspace.name);
            return Ok(());
        }
        let console = self.file("console.log");
        Err(Kind::Failed.error(
            format!("the machine ended with {status}"),
            format!("Its messages are above and in {}.", console.display()),
        ))
    }
}

fn nix(verb: &str) -> Argv {
    let features = "nix-command flakes";
    argv!["nix", verb, "--extra-experimental-features", features]
}

/// The port that was asked for, else the usual one, else any.
fn free_port(wanted: Option<u16>) -> Result<u16> {
    let free = |port| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        Ok::<u16, std::io::Error>(listener.local_addr()?.port())
    };
    match wanted {
        Some(port) => free(port).map_err(|error| {
            Kind::Failed.error(
                format!("port {port} cannot be had: {error}"),
                "Name another one, or none: a free one is found.",
            )
        }),
        None => Ok(free(PORT).or_else(|_| free(0))?),
    }
}

/// Whether nginx is there. qemu itself takes every connection; and to HTTP at a port of HTTPS nginx answers with a
/// page in plain text.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<[u8; 5]> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(
            b"GET /oauth2/sign_in HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        Ok(start)
    };
    ask().is_ok_and(|start| &start == b"HTTP/")
}

/// As a press on its power button does; by force after a while, or when it is interrupted again.
fn shut_down(machine: &mut Child, interrupted: &AtomicBool) -> Result<()> {
    eprintln!("shuts down; Ctrl-C again switches it off at once");
    let mut monitor = machine.stdin.take().expect("it is piped");
    // A machine that has ended meanwhile is what is wanted.
    let _ = monitor.write_all(b"system_powerdown\n");
    let start = Instant::now();
    while machine.try_wait()?.is_none() {
        if start.elapsed() > SHUTDOWN || interrupted.load(Ordering::Relaxed) {
            eprintln!("switched off");
            machine.kill()?;
            machine.wait()?;
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
