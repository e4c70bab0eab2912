//! The rules of fleet.toml, key by key, in the order of `hosts/fleet.nix`.

use std::{collections::BTreeMap, ops::Range};

use toml::de::DeTable;

use super::{
    Access, Exposure, Fleet, Google, Gpu, Login, Profile, Workspace,
    machine_types::MACHINE_TYPES,
    problem::Problem,
    reader::{Reader, Table, Value},
    toml_1_0,
};

const SETTINGS: [&str; 9] = [
    "allowed_emails",
    "image",
    "machine_type",
    "gpu",
    "spot",
    "boot_disk_gb",
    "home_disk_gb",
    "idle_stop_minutes",
    "scale_out_project",
];

/// Reads a file's text.
pub fn read(source: &str) -> Result<Fleet, Vec<Problem>> {
    let whole = |what: &str, mend: &str, span: Range<usize>| {
        let (key, what, mend) = (String::new(), what.into(), mend.into());
        vec![Problem {
            key,
            span,
            what,
            mend,
        }]
    };
    let parsed = DeTable::parse(source).map_err(|e| {
        let span = e.span().unwrap_or(0..0);
        if e.message() == "duplicate key" {
            let what = duplicate(source, &span);
            return whole(&what, "Keep one of the two.", span);
        }
        let what = e.message().replace('\n', ", ");
        let mend = "Mend the syntax there: it is not TOML as it stands.";
        whole(&what, mend, span)
    })?;
    if let Some(problem) = toml_1_0::newer_syntax(source) {
        return Err(vec![problem]);
    }
    let file = parsed.get_ref();
    if file.is_empty() {
        let mend = "Start from the example in docs/fleet.md.";
        return Err(whole("the file is empty", mend, 0..0));
    }
    let mut reader = Reader::default();
    match (reader.fleet(file), reader.problems) {
        (Some(fleet), problems) if problems.is_empty() => Ok(fleet),
        (_, problems) => Err(problems),
    }
}

/// Which table or key is there twice, and on which line first, where that is written the same way.
fn duplicate(source: &str, again: &Range<usize>) -> String {
    let line_of = |at: usize| source[..at].matches('\n').count();
    let header = |line: &str| line.trim_start().starts_with('[');
    let name = |line: &str| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let key = line.split('=').next().unwrap_or_default().trim();
        if header(line) { line } else { key }.to_owned()
    };
    let lines: Vec<_> = source.lines().collect();
    let here = line_of(again.start);
    let twice = name(lines.get(here).copied().unwrap_or_default());
    let key = &source[again.clone()];
    // Within an inline table.
    if !header(&twice) && !twice.ends_with(key) {
        return format!("{key} is there twice");
    }
    // A key is one of its table's.
    let table = lines[..here].iter().rposition(|line| header(line));
    let from = if header(&twice) {
        0
    } else {
        table.unwrap_or(0)
    };
    let first = (from..here).find(|&line| name(lines[line]) == twice);
    let first = first.map_or(String::new(), |line| {
        format!(", first on line {}", line + 1)
    });
    format!("{twice} is there twice{first}")
}

/// The keys that `[defaults]` and a workspace share; what is not written is none.
#[derive(Clone, Default)]
struct Settings {
    allowed_emails: Option<Vec<String>>,
    image: Option<Profile>,
    machine_type: Option<String>,
    gpu: Option<Gpu>,
    spot: Option<bool>,
    boot_disk_gb: Option<i64>,
    home_disk_gb: Option<i64>,
    idle_stop_minutes: Option<i64>,
    scale_out_project: Option<String>,
}

impl Reader {
    /// None only where something was refused.
    fn fleet(&mut self, file: &DeTable) -> Option<Fleet> {
        let root = self.root(file, &["google", "access", "defaults", "workspaces"]);
        let google = self
            .required(&root, "google", "[google] with project, region and zones")
            .and_then(|v| self.google(&v));
        let access = match root.get("access") {
            Some(value) => self.access(&value),
            // Without [access] the exposure is public, which needs an address.
            None => {
                let mend = "Write [access] with acme_email, or with exposure = \"private\".";
                self.refuse("access.acme_email", 0..0, "is missing", mend);
                None
            }
        };
        let before = self.problems.len();
        let table = root.get("defaults").and_then(|v| self.table(&v, &SETTINGS));
        let settings = table.as_ref().map(|t| self.settings(t));
        let defaults = Defaults {
            table,
            settings: settings.unwrap_or_default(),
            right: before == self.problems.len(),
        };
        let workspaces = self.required(
            &root,
            "workspaces",
            "[workspaces.NAME] with owner for each one",
        );
        let workspaces = workspaces.and_then(|v| self.any_table(&v))?;
        let place = google.as_ref().zip(access.as_ref());
        let mut read = BTreeMap::new();
        for (name, value) in workspaces.values() {
            if let Some(workspace) = self.workspace(name, &value, &defaults, place) {
                read.insert(name.to_owned(), workspace);
            }
        }
        Some(Fleet {
            google: google?,
            access: access?,
            workspaces: read,
        })
    }

    fn google(&mut self, value: &Value) -> Option<Google> {
        let table = self.table(value, &["project", "region", "zones"])?;
        let project = self
            .required(&table, "project", "project = \"acme-data-science\"")
            .and_then(|v| self.project(&v));
        let region = self
            .required(&table, "region", "region = \"europe-west4\"")
            .and_then(|v| {
                let mend = "Write it as Google does, such as europe-west4.";
                self.text(&v, is_region, "a region", mend)
            });
        let zones = self.required(&table, "zones", "zones = [\"europe-west4-a\"]");
        let zones = zones.and_then(|v| self.zones(&v, region.as_deref()));
        Some(Google {
            project: project?,
            region: region?,
            zones: zones?,
        })
    }

    fn project(&mut self, value: &Value) -> Option<String> {
        let mend = "Write the id, not the name or number: 6 to 30 lower-case letters, digits and hyphens, a letter first.";
        self.text(value, is_project, "a project id", mend)
    }

    fn zones(&mut self, value: &Value, region: Option<&str>) -> Option<Vec<String>> {
        let items = self.list(
            value,
            "must be a list of zones",
            "Write it as [\"europe-west4-a\"].",
        )?;
        if items.is_empty() {
            let mend = "Name at least one zone of the region; they are tried in this order.";
            self.refuse(&value.path, value.value.span(), "is empty", mend);
            return None;
        }
        let of_region = |zone: &str| {
            is_zone(zone) && region.is_none_or(|r| zone.rsplit_once('-').is_some_and(|z| z.0 == r))
        };
        let mend = "Write zones of google.region, such as europe-west4-a for europe-west4.";
        let zones = items
            .iter()
            .map(|item| self.text(item, of_region, "a zone of the region", mend));
        // Each wrong one is reported, not the first alone.
        let zones: Vec<_> = zones.collect();
        let zones: Vec<_> = zones.into_iter().collect::<Option<_>>()?;
        let twice = (1..zones.len()).find(|&at| zones[..at].contains(&zones[at]));
        if let Some(at) = twice {
            let span = items[at].value.span();
            self.refuse(
                &value.path,
                span,
                "names a zone twice",
                "Remove the second one.",
            );
            return None;
        }
        Some(zones)
    }

    fn access(&mut self, value: &Value) -> Option<Access> {
        let table = self.table(value, &["exposure", "login", "acme_email", "acme_server"])?;
        let exposure = match table.get("exposure") {
            Some(value) => self.choice(
                &value,
                &[("public", Exposure::Public), ("private", Exposure::Private)],
            ),
            None => Some(Exposure::Public),
        };
        let login = match table.get("login") {
            Some(login) if exposure == Some(Exposure::Private) => {
                let what =
                    "is not for exposure \"private\", where IAP's tunnel decides who gets in";
                let mend = "Remove it, or set exposure = \"public\".";
                self.refuse(&login.path, login.key_span, what, mend);
                None
            }
            Some(value) => self.choice(
                &value,
                &[("password", Login::Password), ("google", Login::Google)],
            ),
            None => (exposure == Some(Exposure::Public)).then_some(Login::Password),
        };
        let acme_email = if exposure == Some(Exposure::Public) {
            self.required(
                &table,
                "acme_email",
                "acme_email = \"ops@acme.example\", or exposure = \"private\"",
            )
        } else {
            table.get("acme_email")
        };
        let acme_email = acme_email.and_then(|v| self.email(&v));
        let acme_server = table.get("acme_server").and_then(|v| {
            let mend =
                "Write its https:// address, such as https://dv.acme-v02.api.pki.goog/directory.";
            self.text(&v, is_directory, "an ACME directory", mend)
        });
        Some(Access {
            exposure: exposure?,
            login,
            acme_email,
            acme_server,
        })
    }

    fn settings(&mut self, table: &Table) -> Settings {
        let image = table.get("image");
        let machine_type = table.get("machine_type");
        let gpu = table.get("gpu");
        Settings {
            allowed_emails: table.get("allowed_emails").and_then(|v| self.emails(&v)),
            image: image.and_then(|v| self.choice(&v, &Profile::ALL)),
            machine_type: machine_type.and_then(|v| self.machine_type(&v)),
            gpu: gpu.and_then(|v| self.gpu(&v)),
            spot: table.get("spot").and_then(|v| self.boolean(&v)),
            // Compute Engine's disks go to 64 TiB; a boot disk holds the store alone.
            boot_disk_gb: self.size(table, "boot_disk_gb", 20, 2048, false),
            home_disk_gb: self.size(table, "home_disk_gb", 10, 65536, false),
            idle_stop_minutes: self.size(table, "idle_stop_minutes", 10, 10080, true),
            scale_out_project: table
                .get("scale_out_project")
                .and_then(|v| self.project(&v)),
        }
    }

    fn size(&mut self, table: &Table, key: &str, min: i64, max: i64, zero: bool) -> Option<i64> {
        let or_zero = if zero { "0 or " } else { "" };
        self.integer(
            &table.get(key)?,
            |n| (zero && n == 0) || (min..=max).contains(&n),
            |n| format!("{n} is out of range"),
            &format!("Write {or_zero}a number from {min} to {max}."),
        )
    }

    fn machine_type(&mut self, value: &Value) -> Option<String> {
        let mend = "Write FAMILY-CLASS-SIZE as Google does, such as n2-standard-8.";
        let machine_type = self.text(value, is_machine_type, "a machine type", mend)?;
        if MACHINE_TYPES.arm.hold(&machine_type) {
            let what =
                format!("{machine_type:?} is an Arm machine, which cannot boot an x86-64 image");
            let mend = "Take an x86-64 machine type, such as n2-standard-8.";
            self.refuse(&value.path, value.value.span(), what, mend);
            return None;
        }
        Some(machine_type)
    }

    fn gpu(&mut self, value: &Value) -> Option<Gpu> {
        let table = self.table(value, &["type", "count"])?;
        let counts = &MACHINE_TYPES.gpu_attachable.counts;
        let types: Vec<_> = counts.iter().map(|(t, n)| (t.as_str(), (t, n))).collect();
        let known = self.required(&table, "type", "type = \"nvidia-tesla-t4\"");
        let known = known.and_then(|v| self.choice(&v, &types));
        let count = self.required(&table, "count", "count = 1").and_then(|v| {
            let numbers = known.map(|(_, numbers)| numbers.as_slice());
            let words: Vec<_> = numbers.unwrap_or(&[]).iter().map(i64::to_string).collect();
            self.integer(
                &v,
                |n| numbers.is_none_or(|allowed| allowed.contains(&n)),
                |n| format!("one machine cannot have {n} of this type"),
                &format!("Write {}.", words.join(" or ")),
            )
        });
        Some(Gpu {
            r#type: known?.0.clone(),
            count: count?,
        })
    }

    fn email(&mut self, value: &Value) -> Option<String> {
        let mend = "Write it as name@domain in lower case, such as alice@acme.example.";
        self.text(value, is_email, "a plain e-mail address", mend)
    }

    fn emails(&mut self, value: &Value) -> Option<Vec<String>> {
        let what = "must be a list of e-mail addresses";
        let items = self.list(value, what, "Write it as [\"bob@acme.example\"].")?;
        // Each wrong one is reported, not the first alone.
        let emails: Vec<_> = items.iter().map(|item| self.email(item)).collect();
        emails.into_iter().collect()
    }

    /// Refuses a workspace's setting at the line that says so: its own, else that of the defaults.
    fn refuse_setting(
        &mut self,
        (table, value): (&Table, &Value),
        defaults: &Defaults,
        key: &str,
        what: impl Into<String>,
        mend: &str,
    ) {
        let of_defaults = defaults.table.as_ref().and_then(|t| t.get(key));
        let said = table.get(key).or(of_defaults);
        let span = said.map_or(value.key_span.clone(), |v| v.value.span());
        self.refuse(&table.path_of(key), span, what, mend);
    }

    fn workspace(
        &mut self,
        name: &str,
        value: &Value,
        defaults: &Defaults,
        place: Option<(&Google, &Access)>,
    ) -> Option<Workspace> {
        if !(is_label(name) && name.len() <= 40) {
            let mend = "Name it with 1 to 40 lower-case letters, digits and hyphens, a letter first, no hyphen last.";
            let what = "has a name that is no host name label";
            self.refuse(&value.path, value.key_span.clone(), what, mend);
        }
        // Profiles and workspaces share the names of the images.
        if Profile::ALL.iter().any(|(profile, _)| *profile == name) {
            let what = "has the name of an image profile";
            self.refuse(
                &value.path,
                value.key_span.clone(),
                what,
                "Name it otherwise.",
            );
        }
        let before = self.problems.len();
        let known: Vec<_> = SETTINGS.into_iter().chain(["owner"]).collect();
        let table = self.table(value, &known)?;
        let owner = self
            .required(&table, "owner", "owner = \"alice@acme.example\"")
            .and_then(|v| self.email(&v));
        let own = self.settings(&table);
        if self.problems.len() > before || !defaults.right {
            return None;
        }
        let inherited = defaults.settings.clone();
        // A workspace that sets its own machine type does not inherit the GPU that the defaults attach to theirs.
        let gpu = match own.machine_type {
            Some(_) => own.gpu,
            None => own.gpu.or(inherited.gpu),
        };
        let image = own.image.or(inherited.image).unwrap_or(Profile::Base);
        let machine_type = own.machine_type.or(inherited.machine_type);
        let machine_type = machine_type.unwrap_or_else(|| "n2-standard-8".to_owned());
        let spot = own.spot.or(inherited.spot).unwrap_or(false);
        if let Some((key, what, mend)) = misfit(image, &machine_type, gpu.as_ref(), spot) {
            self.refuse_setting((&table, value), defaults, key, what, mend);
            return None;
        }
        let (google, access) = place?;
        let allowed_emails = own.allowed_emails.or(inherited.allowed_emails);
        let allowed_emails = allowed_emails.unwrap_or_default();
        if !allowed_emails.is_empty() && access.login != Some(Login::Google) {
            let what = "is for login \"google\" alone: a password is the owner's, a tunnel IAM's";
            let mend = "Remove it, or set access.login = \"google\".";
            self.refuse_setting((&table, value), defaults, "allowed_emails", what, mend);
            return None;
        }
        let scale_out_project = own.scale_out_project.or(inherited.scale_out_project);
        if scale_out_project.as_ref() == Some(&google.project) {
            let what =
                "is the fleet's own project: who makes machines there is root on every workspace";
            let mend = "Name another project, see docs/scale-out.md.";
            self.refuse_setting((&table, value), defaults, "scale_out_project", what, mend);
            return None;
        }
        let public = access.exposure == Exposure::Public;
        let domain = format!("{name}.endpoints.{}.cloud.goog", google.project);
        Some(Workspace {
            name: name.to_owned(),
            owner: owner?,
            allowed_emails,
            domain: public.then_some(domain),
            image,
            machine_type,
            gpu,
            spot,
            boot_disk_gb: own.boot_disk_gb.or(inherited.boot_disk_gb).unwrap_or(50),
            home_disk_gb: own.home_disk_gb.or(inherited.home_disk_gb).unwrap_or(100),
            idle_stop_minutes: own
                .idle_stop_minutes
                .or(inherited.idle_stop_minutes)
                .unwrap_or(120),
            scale_out_project,
        })
    }
}

struct Defaults<'a> {
    table: Option<Table<'a>>,
    settings: Settings,
    /// Whether nothing in them was refused.
    right: bool,
}

/// What does not fit together: the key, what is wrong, and the mend.
fn misfit(
    image: Profile,
    machine_type: &str,
    gpu: Option<&Gpu>,
    spot: bool,
) -> Option<(&'static str, String, &'static str)> {
    let built_in = MACHINE_TYPES.gpu_built_in.hold(machine_type);
    let attachable = MACHINE_TYPES.gpu_attachable.hold(machine_type);
    match (image, gpu) {
        (_, Some(_)) if built_in => Some((
            "gpu",
            format!("cannot be attached to {machine_type}, which has its own GPUs"),
            "Remove it.",
        )),
        (_, Some(_)) if !attachable => Some((
            "gpu",
            format!("cannot be attached to {machine_type}"),
            "Remove it, or take a machine type of n1, such as n1-standard-8.",
        )),
        (Profile::Base, gpu) if built_in || gpu.is_some() => Some((
            "image",
            format!("is \"base\", but {machine_type} has a GPU here"),
            "Write image = \"cuda\", which has the driver, or take a machine without a GPU.",
        )),
        (Profile::Cuda, None) if !built_in => Some((
            "image",
            format!("is \"cuda\", but {machine_type} has no GPU here"),
            "Take a machine type with GPUs, such as g2-standard-8, attach one to n1 with gpu = { … }, or write image = \"base\".",
        )),
        _ if spot && MACHINE_TYPES.spot.never(machine_type) => Some((
            "spot",
            format!("cannot be had for {machine_type}, which is bare metal"),
            "Write spot = false, or take a machine type that does not end in -metal.",
        )),
        _ if !spot && MACHINE_TYPES.spot.only(machine_type) => Some((
            "spot",
            format!("is false, but Google gives {machine_type} as a Spot machine alone"),
            "Write spot = true, or take another machine type, such as a3-highgpu-8g.",
        )),
        _ => None,
    }
}

fn lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// RFC 1035, section 2.3.1, in lower case and but for the length: a letter first, no hyphen last.
fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.chars().all(|c| lower_or_digit(c) || c == '-')
}

/// <https://cloud.google.com/resource-manager/docs/creating-managing-projects>
fn is_project(text: &str) -> bool {
    is_label(text) && (6..=30).contains(&text.len())
}

/// Such as `europe-west4`.
fn is_region(text: &str) -> bool {
    let letters = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_lowercase());
    text.split_once('-').is_some_and(|(continent, rest)| {
        let place = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        letters(continent) && letters(place) && place.len() < rest.len()
    })
}

/// Such as `europe-west4-a`, or `us-central1-ai1a`.
fn is_zone(text: &str) -> bool {
    text.rsplit_once('-').is_some_and(|(region, zone)| {
        let Some((at, last)) = zone.char_indices().next_back() else {
            return false;
        };
        let ai = &zone[..at];
        let digits = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_digit());
        is_region(region)
            && last.is_ascii_lowercase()
            && (ai.is_empty() || ai.strip_prefix("ai").is_some_and(digits))
    })
}

/// Such as `n2-standard-8`, `custom-8-32768` or `c3-standard-88-lssd`.
fn is_machine_type(text: &str) -> bool {
    let word = |s: &str| !s.is_empty() && s.chars().all(lower_or_digit);
    is_label(text) && text.len() <= 63 && text.contains('-') && text.split('-').all(word)
}

/// Nothing that a shell or an expression could take for its own.
fn is_directory(text: &str) -> bool {
    let of_url = |c: char| c.is_ascii_alphanumeric() || "._~:/-".contains(c);
    text.len() <= 254
        && text.strip_prefix("https://").is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_alphanumeric()) && rest.chars().all(of_url)
        })
}

/// Nothing that a shell, an expression or markup could take for its own, and lower case, as Google stores addresses.
fn is_email(text: &str) -> bool {
    let of_local = |c: char| lower_or_digit(c) || "_.+-".contains(c);
    let local_ok = |local: &str| {
        (1..=64).contains(&local.len())
            && local.starts_with(|c| lower_or_digit(c) || c == '_')
            && !local.ends_with('.')
            && local.chars().all(of_local)
    };
    let of_domain = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| lower_or_digit(c) || c == '-')
    };
    text.len() <= 254
        && !text.contains("..")
        && text.split_once('@').is_some_and(|(local, domain)| {
            let top = domain.rsplit_once('.').map_or("", |(_, top)| top);
            local_ok(local) && domain.split('.').all(of_domain) && is_label(top)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_twice_is_named_with_its_first_line() {
        let what = |source: &str| read(source).err().unwrap()[0].what.clone();
        assert_eq!(
            what("[a]\nx = 1\n[b]\nx = 1\n[a] # again\n"),
            "[a] is there twice, first on line 1"
        );
        assert_eq!(
            what("[a]\nx = 1\n[b]\nx = 1\ny = 2\nx= 3\n"),
            "x is there twice, first on line 4"
        );
        assert_eq!(what("a = { b = 1, b = 2 }\n"), "b is there twice");
    }
}
