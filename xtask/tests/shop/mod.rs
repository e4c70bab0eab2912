//! A world that can push: a made-up nix whose disk is real, the real `google` and `imagepack`, a simulated cloud.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    net::TcpStream,
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    sync::OnceLock,
};

use cloudsim::{Entry, Options, Plan, Rule, Sim};
use serde_json::Value;

use crate::support::{World, root, stderr, stdout};

pub const PROJECT: &str = "acme-data-science";
pub const BUCKET: &str = "acme-data-science-workspace-images";
/// The key that systems are signed with.
pub const SECRET: &str = "acme-data-science-1:poison";
const DERIVATION: &str = "/nix/store/dddddddddddd0123456789abcdfghijk-image-base.drv";
/// What `push` calls the image of that derivation.
pub const IMAGE: &str = "base-dddddddddddd";
const HASH: &str = "0123456789abcdfghijklmnpqrsvwxyz";

/// The programs of this project, built once a test binary in the profile that xtask was built in.
fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_xtask")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--package",
            "google",
            "--package",
            "imagepack",
        ]);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        // target/TRIPLE/PROFILE instead of target/PROFILE.
        let above = folder
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        if above.contains("-linux-") {
            cargo.args(["--target", above]);
        }
        assert!(cargo.current_dir(root()).status().unwrap().success());
        folder.to_owned()
    })
}

/// What nix has built: a folder with a disk of 1 GiB, `mib` of which cannot be compressed.
pub struct Store {
    folder: tempfile::TempDir,
    packed: PathBuf,
}

impl Store {
    /// Builds and packs, so that the worlds of this store need not.
    pub fn new(mib: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join(format!("{HASH}-image"));
        fs::create_dir(&image).unwrap();
        let mut disk = fs::File::create(image.join("disk.raw")).unwrap();
        disk.set_len(1 << 30).unwrap();
        disk.seek(SeekFrom::Start(1 << 20)).unwrap();
        disk.write_all(&noise(mib << 20)).unwrap();
        let packed = folder.path().join("packed");
        let store = Self { folder, packed };
        let shop = store.shop();
        assert_ok(&shop.world.xtask(&["image", "base"]));
        fs::rename(shop.images(), &store.packed).unwrap();
        store
    }

    /// A world of this store, with a cloud of its own, in which the disk is packed already.
    pub fn shop(&self) -> Shop {
        let world = World::new();
        for program in ["google", "imagepack"] {
            symlink(programs().join(program), world.path("bin").join(program)).unwrap();
        }
        let shop = Shop {
            world,
            sim: Sim::start(Options::default()).unwrap(),
        };
        nix(&shop.world);
        self.evaluates(&shop, DERIVATION);
        if self.packed.exists() {
            fs::create_dir_all(shop.images()).unwrap();
            for entry in fs::read_dir(&self.packed).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), shop.images().join(entry.file_name())).unwrap();
            }
        }
        shop
    }
}

impl Store {
    /// Makes the images of a checkout's flake evaluate to this derivation, of which nix makes the same disk as of every
    /// other.
    pub fn evaluates(&self, shop: &Shop, derivation: &str) {
        let out = self.folder.path().join(format!("{HASH}-image"));
        let out = out.display();
        let image = format!("[\"{derivation}\",\"{out}\"]\n{out}\n");
        fs::write(shop.world.path("image"), image).unwrap();
    }
}

/// What all systems have in common.
pub fn common() -> String {
    format!("/nix/store/{}-common", "0".repeat(32))
}

/// A made-up nix that builds images, and builds, signs and packs systems; all that it has is the shell.
pub fn nix(world: &World) {
    let systems = world.path("systems");
    fs::create_dir_all(&systems).unwrap();
    let metadata = r#"{"revision":"0123456789abcdef","locks":{"nodes":{"root":{"inputs":{"nixpkgs":"n"}},"n":{"locked":{"rev":"fedcba"}}}}}"#;
    // Of a closure it makes one file a path, as Nix does, of those that are not there.
    let script = format!(
        r#"all="$*"
        case "$all" in
        "eval "*nixosConfigurations*)
            names=${{all##*"(hosts) "}}; eval "set -- ${{names%%;*}}"; printf '{{'
            for name in "$@"; do
                letter=${{name%"${{name#?}}"}}; hash=$letter$letter$letter$letter
                out=/nix/store/$hash$hash$hash$hash$hash$hash$hash$hash-nixos-system-$name
                [ ! -e '{}'/$name ] || read -r out < '{}'/$name
                printf '%s"%s":{{"drvPath":"%s.drv","outPath":"%s"}}' "$comma" "$name" "$out" "$out"; comma=,
            done; printf '}}' ;;
        "eval "*) read -r image < '{}'; echo "$image" ;;
        "build "*) {{ read -r image; read -r out; }} < '{}'; echo "$out" ;;
        "flake "*) echo '{metadata}' ;;
        "path-info "*) case "$all" in *--size*) size=' 2000' ;; *) size= ;; esac
            for path in "$@"; do case $path in /nix/store/*) echo "$path$size" ;; esac; done; echo "{}$size" ;;
        "key "*) case "$all" in
            *generate-secret*) printf {SECRET} ;;
            *) read -r secret; echo "${{secret%%:*}}:public" ;;
            esac ;;
        "copy "*)
            for word in "$@"; do
                case $word in
                file://*) folder=${{word#file://}}; folder=${{folder%%\?*}}; key=${{word##*secret-key=}} ;;
                esac
            done
            read -r secret < $key
            echo "signed with $secret" >> '{}'
            echo StoreDir: /nix/store > $folder/nix-cache-info
            for path in "$@" {}; do
                case $path in
                /nix/store/*)
                    name=${{path#/nix/store/}}; hash=${{name%%-*}}
                    [ -e $folder/$hash.narinfo ] && continue
                    echo "contents of $path" > $folder/$hash.nar.zst
                    printf 'StorePath: %s\nURL: %s.nar.zst\nNarSize: 1000\nReferences: {}\n' $path $hash > $folder/$hash.narinfo ;;
                esac
            done ;;
        esac"#,
        systems.display(),
        systems.display(),
        world.path("image").display(),
        world.path("image").display(),
        common(),
        world.path("signatures").display(),
        common(),
        common().trim_start_matches("/nix/store/"),
    );
    world.program("nix", &script);
}

/// A checkout, and a cloud.
pub struct Shop {
    pub world: World,
    pub sim: Sim,
}

impl Shop {
    pub fn images(&self) -> PathBuf {
        self.world.path("repo/target/images")
    }

    /// The packed image.
    pub fn packed(&self) -> PathBuf {
        self.images().join(format!("base-{HASH}.tar.gz"))
    }

    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let url = self.sim.url();
        let endpoints = [
            ("GOOGLE_STORAGE_CUSTOM_ENDPOINT", "storage/v1"),
            ("GOOGLE_COMPUTE_CUSTOM_ENDPOINT", "compute/v1"),
            ("GOOGLE_SERVICE_USAGE_CUSTOM_ENDPOINT", "serviceusage/v1"),
            (
                "GOOGLE_SERVICE_MANAGEMENT_CUSTOM_ENDPOINT",
                "servicemanagement/v1",
            ),
            ("GOOGLE_RESOURCE_MANAGER_CUSTOM_ENDPOINT", "crm/v1"),
            ("GOOGLE_IAM_BETA_CUSTOM_ENDPOINT", "iam/v1"),
            ("GOOGLE_SECRET_MANAGER_CUSTOM_ENDPOINT", "secretmanager/v1"),
            ("GOOGLE_IAP_CUSTOM_ENDPOINT", "iap/v1"),
        ];
        let endpoints = endpoints.map(|(name, path)| (name, format!("{url}/{path}/")));
        let token = ("GOOGLE_OAUTH_ACCESS_TOKEN", "deployer".to_owned());
        endpoints.into_iter().chain([token]).collect()
    }

    /// xtask in this checkout, set to a cloud.
    pub fn xtask_at(&self, cloud: &Shop, arguments: &[&str]) -> Output {
        let variables = cloud.variables();
        let variables: Vec<_> = variables.iter().map(|(k, v)| (*k, v.as_str())).collect();
        self.world.xtask_with(arguments, &variables)
    }

    pub fn xtask(&self, arguments: &[&str]) -> Output {
        self.xtask_at(self, arguments)
    }

    /// `push`, as the leader of a process group that can be killed whole.
    pub fn spawn_push(&self) -> Child {
        self.spawn_group(&["push"])
    }

    /// xtask as the leader of a process group that can be killed whole.
    pub fn spawn_group(&self, arguments: &[&str]) -> Child {
        let mut command = self.world.command(arguments);
        command.envs(self.variables()).process_group(0);
        self.world.spawn(&mut command)
    }

    pub fn strike(&self, rules: Vec<Rule>) {
        self.sim.set_faults(Plan {
            rules,
            ..Plan::default()
        });
    }

    pub fn writes(&self) -> Vec<Entry> {
        let mut log = self.sim.log();
        log.retain(|entry| entry.mutates);
        log
    }

    /// Changes something of Compute Engine's in a zone, for what no verb does yet, and waits until it is done.
    pub fn change(&self, method: &str, path: &str, body: &Value) {
        let operation = self.compute(method, path, body);
        let name = operation["name"].as_str().unwrap();
        let done = self.compute("POST", &format!("operations/{name}/wait"), &Value::Null);
        assert_eq!(done["status"], "DONE", "{done}");
        assert!(done.get("error").is_none(), "{done}");
    }

    /// Makes a network that machines can be put in.
    pub fn network(&self) {
        let compute = format!("/compute/v1/projects/{PROJECT}");
        let network = serde_json::json!({"name": "n", "autoCreateSubnetworks": false});
        let subnetwork = serde_json::json!({
            "name": "s", "network": format!("projects/{PROJECT}/global/networks/n"), "ipCidrRange": "10.0.0.0/24",
        });
        for (scope, kind, body) in [
            ("global", "networks", network),
            ("regions/europe-west4", "subnetworks", subnetwork),
        ] {
            let operation = self.http("POST", &format!("{compute}/{scope}/{kind}"), &body);
            let name = operation["name"].as_str().unwrap();
            self.http(
                "POST",
                &format!("{compute}/{scope}/operations/{name}/wait"),
                &Value::Null,
            );
        }
    }

    /// Every record of the simulated cloud.
    pub fn records(&self) -> Value {
        self.http("GET", "/_sim/state", &Value::Null)["records"].take()
    }

    fn compute(&self, method: &str, path: &str, body: &Value) -> Value {
        let zone = format!("/compute/v1/projects/{PROJECT}/zones/europe-west4-a");
        self.http(method, &format!("{zone}/{path}"), body)
    }

    /// Writes a guest attribute, as the agent of a machine in the zone would.
    pub fn says(&self, machine: &str, key: &str, value: &str) {
        let machine = format!("/_sim/instances/{PROJECT}/europe-west4-a/{machine}");
        let path = format!("{machine}/guest-attributes/workspace/{key}");
        self.send("PUT", &path, value);
    }

    /// Has the cloud take back a Spot machine in the zone, which is off once it was looked at some times.
    pub fn preempt(&self, machine: &str) {
        let machine = format!("/_sim/instances/{PROJECT}/europe-west4-a/{machine}");
        self.send("POST", &format!("{machine}/preempt"), "");
    }

    fn http(&self, method: &str, path: &str, body: &Value) -> Value {
        if body.is_null() {
            self.send(method, path, "")
        } else {
            self.send(method, path, &body.to_string())
        }
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Value {
        let host = self.sim.url().replace("http://", "");
        let mut stream = TcpStream::connect(&host).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n\
             Connection: close\r\nAuthorization: Bearer deployer\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (_, answer) = reply.split_once("\r\n\r\n").unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        serde_json::from_str(answer).unwrap()
    }

    /// What `google` answers in this cloud.
    pub fn google(&self, arguments: &[&str]) -> Value {
        let google = programs().join("google");
        let output = Command::new(google)
            .args(arguments)
            .envs(self.variables())
            .output()
            .unwrap();
        assert_ok(&output);
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// That the cloud has one object with the packed bytes, and one image, which is READY.
    pub fn assert_one_of_each(&self, case: &str) {
        self.sim.set_faults(Plan::default());
        let bucket = format!("gs://{BUCKET}");
        let objects = self.google(&["objects", "list", &bucket]);
        assert_eq!(objects.as_array().unwrap().len(), 1, "{case}: {objects}");
        let packed = fs::read(self.packed()).unwrap();
        assert_eq!(objects[0]["size"], packed.len(), "{case}");
        let copy = self.world.path("copy");
        let url = format!("{bucket}/{}", objects[0]["name"].as_str().unwrap());
        self.google(&["objects", "download", &url, copy.to_str().unwrap()]);
        assert!(fs::read(copy).unwrap() == packed, "{case}");
        let images = self.google(&["images", "list", "--project", PROJECT]);
        assert_eq!(images.as_array().unwrap().len(), 1, "{case}: {images}");
        assert_eq!(images[0]["name"], IMAGE, "{case}");
        assert_eq!(images[0]["status"], "READY", "{case}");
    }
}

pub fn assert_ok(output: &Output) {
    assert!(
        output.status.success(),
        "{}{}",
        stdout(output),
        stderr(output)
    );
}

/// xorshift64.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(size).collect()
}
