# Reads fleet.toml: `(import ./fleet.nix { inherit lib; }) ./fleet.toml` is the fleet with its defaults filled in, in the
# structure of `cargo xtask fleet --json`, or an error that names every refused key.
#
# xtask/src/fleet is the other reader and must give the same verdict, which tests/fleet holds both to: change them together.
{ lib }:
let
  inherit (builtins)
    any
    attrNames
    elem
    head
    isAttrs
    isBool
    isInt
    isList
    isString
    match
    readFile
    toJSON
    ;
  inherit (lib)
    allUnique
    concatLists
    concatMap
    concatMapStringsSep
    concatStringsSep
    hasSuffix
    mapAttrs
    mapAttrsToList
    optional
    optionals
    splitString
    stringLength
    ;

  machineTypes = fromTOML (readFile ./machine-types.toml);
  gpuCounts = machineTypes.gpu_attachable.counts;

  profiles = [
    "base"
    "cuda"
  ];
  settings = {
    allowed_emails = [ ];
    image = "base";
    machine_type = "n2-standard-8";
    gpu = null;
    spot = false;
    boot_disk_gb = 50;
    home_disk_gb = 100;
    idle_stop_minutes = 120;
    scale_out_project = null;
  };

  # A problem is a key path, what is wrong with it, and what to do.
  problem = key: what: mend: { inherit key what mend; };
  join =
    path: key: (if path == "" then "" else path + ".") + (if isBare key then key else toJSON key);
  isBare = key: match "[A-Za-z0-9_-]+" key != null;
  oneOf = words: concatMapStringsSep " or " toJSON words;

  # Checks take a key path and a value and give a list of problems.
  pattern =
    {
      is,
      what,
      mend,
    }:
    path: value:
    if !isString value then
      [ (problem path "must be a string" "Put the value in quotes.") ]
    else
      optional (!is value) (problem path "${toJSON value} is not ${what}" mend);

  matching = regex: value: match regex value != null;

  enum =
    words:
    pattern {
      is = value: elem value words;
      what = "one of the known values";
      mend = "Write ${oneOf words}.";
    };

  integer =
    {
      min,
      max,
      zero ? false,
    }:
    path: value:
    if !isInt value then
      [ (problem path "must be a whole number" "Write it without quotes or a fraction.") ]
    else
      optional (!((zero && value == 0) || (min <= value && value <= max))) (
        problem path "${toString value} is out of range"
          "Write ${if zero then "0 or " else ""}a number from ${toString min} to ${toString max}."
      );

  boolean =
    path: value:
    optional (!isBool value) (
      problem path "must be true or false" "Write true or false, without quotes."
    );

  # Nothing that a shell, an expression or markup could take for its own, and lower case, as Google stores addresses.
  email = pattern {
    is =
      value:
      stringLength value <= 254
      && matching "[a-z0-9_]([a-z0-9_.+-]{0,62}[a-z0-9_+-])?@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]([a-z0-9-]{0,61}[a-z0-9])?" value
      && !matching ".*[.][.].*" value;
    what = "a plain e-mail address";
    mend = "Write it as name@domain in lower case, such as alice@acme.example.";
  };

  family = machineType: head (splitString "-" machineType);

  machineType =
    path: value:
    let
      form = pattern {
        is = value: stringLength value <= 63 && matching "[a-z][a-z0-9]*(-[a-z0-9]+)+" value;
        what = "a machine type";
        mend = "Write FAMILY-CLASS-SIZE as Google does, such as n2-standard-8.";
      } path value;
    in
    form
    ++ optional (form == [ ] && elem (family value) machineTypes.arm.families) (
      problem path "${toJSON value} is an Arm machine, which cannot boot an x86-64 image"
        "Take an x86-64 machine type, such as n2-standard-8."
    );

  gpu =
    path: value:
    table {
      fields = {
        type = enum (attrNames gpuCounts);
        count =
          path: count:
          let
            type = value.type or null;
            counts = if isString type then gpuCounts.${type} or [ ] else [ ];
          in
          if !isInt count then
            [ (problem path "must be a whole number" "Write it without quotes or a fraction.") ]
          else
            optional (counts != [ ] && !elem count counts) (
              problem path "one machine cannot have ${toString count} of ${type}"
                "Write ${concatMapStringsSep " or " toString counts}."
            );
      };
      required = {
        type = ''type = "nvidia-tesla-t4"'';
        count = "count = 1";
      };
    } path value;

  # A table with the given keys and no others.
  table =
    {
      fields,
      # What each key that must be there may look like.
      required ? { },
    }:
    path: value:
    if !isAttrs value then
      [ (problem path "must be a table" "Write it as a [table] or as { key = value }.") ]
    else
      concatLists (
        mapAttrsToList (
          key: v:
          (fields.${key} or (path: _: [
            (problem path "is not a known key"
              "Remove it, or write one of: ${concatStringsSep ", " (attrNames fields)}."
            )
          ])
          )
            (join path key)
            v
        ) value
      )
      ++ mapAttrsToList (key: example: problem (join path key) "is missing" "Write ${example}.") (
        removeAttrs required (attrNames value)
      );

  project = pattern {
    is = matching "[a-z][a-z0-9-]{4,28}[a-z0-9]";
    what = "a project id";
    mend = "Write the id, not the name or number: 6 to 30 lower-case letters, digits and hyphens, a letter first.";
  };

  google =
    path: value:
    table {
      fields = {
        inherit project;
        region = pattern {
          is = isRegion;
          what = "a region";
          mend = "Write it as Google does, such as europe-west4.";
        };
        zones = zones (value.region or null);
      };
      required = {
        project = ''project = "acme-data-science"'';
        region = ''region = "europe-west4"'';
        zones = ''zones = ["europe-west4-a"]'';
      };
    } path value;

  isRegion = matching "[a-z]+-[a-z]+[0-9]+";

  zones =
    region: path: value:
    let
      wrong = concatMap (
        zone:
        pattern {
          is =
            zone:
            if isString region && isRegion region then
              matching "${region}-(ai[0-9]+)?[a-z]" zone
            else
              matching "[a-z]+-[a-z]+[0-9]+-(ai[0-9]+)?[a-z]" zone;
          what = "a zone of the region";
          mend = "Write zones of google.region, such as europe-west4-a for europe-west4.";
        } path zone
      ) value;
    in
    if !isList value then
      [ (problem path "must be a list of zones" ''Write it as ["europe-west4-a"].'') ]
    else if value == [ ] then
      [ (problem path "is empty" "Name at least one zone of the region; they are tried in this order.") ]
    else if wrong != [ ] then
      wrong
    else
      optional (!allUnique value) (problem path "names a zone twice" "Remove the second one.");

  exposures = [
    "public"
    "private"
  ];
  exposureOf = access: access.exposure or "public";

  access =
    path: value:
    table {
      fields = {
        exposure = enum exposures;
        login =
          path: login:
          if isAttrs value && exposureOf value == "private" then
            [
              (problem path "is not for exposure \"private\", where IAP's tunnel decides who gets in"
                "Remove it, or set exposure = \"public\"."
              )
            ]
          else
            enum [
              "password"
              "google"
            ] path login;
        acme_email = email;
        # Nothing that a shell or an expression could take for its own.
        acme_server = pattern {
          is = value: stringLength value <= 254 && matching "https://[A-Za-z0-9][A-Za-z0-9._~:/-]*" value;
          what = "an ACME directory";
          mend = "Write its https:// address, such as https://dv.acme-v02.api.pki.goog/directory.";
        };
      };
      required = lib.optionalAttrs (isAttrs value && exposureOf value == "public") {
        acme_email = ''acme_email = "ops@acme.example", or exposure = "private"'';
      };
    } path value;

  emails =
    path: value:
    if !isList value then
      [ (problem path "must be a list of e-mail addresses" ''Write it as ["bob@acme.example"].'') ]
    else
      concatMap (email path) value;

  settingFields = {
    allowed_emails = emails;
    image = enum profiles;
    machine_type = machineType;
    inherit gpu;
    spot = boolean;
    # Compute Engine's disks go to 64 TiB; a boot disk holds the store alone.
    boot_disk_gb = integer {
      min = 20;
      max = 2048;
    };
    home_disk_gb = integer {
      min = 10;
      max = 65536;
    };
    idle_stop_minutes = integer {
      min = 10;
      max = 10080;
      zero = true;
    };
    scale_out_project = project;
  };

  defaults = table { fields = settingFields; };

  # A workspace that sets its own machine type does not inherit the GPU that the defaults attach to theirs.
  effective =
    defaults: workspace:
    settings
    // (if workspace ? machine_type then removeAttrs defaults [ "gpu" ] else defaults)
    // workspace;

  workspace =
    # How people log in, and where, where [google] and [access] are right.
    login: ownProject: defaultsValue: path: value:
    let
      wrong = table {
        fields = settingFields // {
          owner = email;
        };
        required.owner = ''owner = "alice@acme.example"'';
      } path value;
      e = effective defaultsValue value;
      builtIn = elem (family e.machine_type) machineTypes.gpu_built_in.families;
      attachable = elem (family e.machine_type) machineTypes.gpu_attachable.families;
      neverSpot = any (ending: hasSuffix ending e.machine_type) machineTypes.spot.never_endings;
    in
    wrong
    # What does not fit together is only looked at when each part is right.
    ++ optionals (wrong == [ ] && defaults "defaults" defaultsValue == [ ]) (
      if e.gpu != null && !attachable then
        [
          (problem (join path "gpu")
            "cannot be attached to ${e.machine_type}${if builtIn then ", which has its own GPUs" else ""}"
            (
              if builtIn then "Remove it." else "Remove it, or take a machine type of n1, such as n1-standard-8."
            )
          )
        ]
      else if (e.gpu != null || builtIn) && e.image != "cuda" then
        [
          (problem (join path "image") "is ${toJSON e.image}, but ${e.machine_type} has a GPU here"
            "Write image = \"cuda\", which has the driver, or take a machine without a GPU."
          )
        ]
      else if e.gpu == null && !builtIn && e.image == "cuda" then
        [
          (problem (join path "image") "is \"cuda\", but ${e.machine_type} has no GPU here"
            "Take a machine type with GPUs, such as g2-standard-8, attach one to n1 with gpu = { … }, or write image = \"base\"."
          )
        ]
      else if e.spot && neverSpot then
        [
          (problem (join path "spot") "cannot be had for ${e.machine_type}, which is bare metal"
            "Write spot = false, or take a machine type that does not end in -metal."
          )
        ]
      else if !e.spot && elem e.machine_type machineTypes.spot.only then
        [
          (problem (join path "spot") "is false, but Google gives ${e.machine_type} as a Spot machine alone"
            "Write spot = true, or take another machine type, such as a3-highgpu-8g."
          )
        ]
      else if login != "unknown" && login != "google" && e.allowed_emails != [ ] then
        [
          (problem (join path "allowed_emails")
            "is for login \"google\" alone: a password is the owner's, a tunnel IAM's"
            "Remove it, or set access.login = \"google\"."
          )
        ]
      else
        optional (login != "unknown" && e.scale_out_project == ownProject) (
          problem (join path "scale_out_project")
            "is the fleet's own project: who makes machines there is root on every workspace"
            "Name another project, see docs/scale-out.md."
        )
    );

  workspaces =
    login: ownProject: defaultsValue: path: value:
    if !isAttrs value then
      table { fields = { }; } path value
    else
      concatLists (
        mapAttrsToList (
          name: v:
          optional (!matching "[a-z]([a-z0-9-]{0,38}[a-z0-9])?" name) (
            problem (join path name) "has a name that is no host name label"
              "Name it with 1 to 40 lower-case letters, digits and hyphens, a letter first, no hyphen last."
          )
          ++ optional (elem name profiles) (
            problem (join path name) "has the name of an image profile" "Name it otherwise."
          )
          ++ workspace login ownProject defaultsValue (join path name) v
        ) value
      );

  # The problems of a parsed file, in the order of their keys.
  problems =
    file:
    let
      defaultsValue = if isAttrs (file.defaults or null) then file.defaults else { };
      wrongDefaults = file ? defaults && !isAttrs file.defaults;
      accessValue = file.access or { };
      login =
        if google "google" (file.google or { }) ++ access "access" accessValue != [ ] then
          "unknown"
        else if exposureOf accessValue == "public" then
          accessValue.login or "password"
        else
          null;
    in
    if file == { } then
      [ (problem "" "the file is empty" "Start from the example in docs/fleet.md.") ]
    else
      table {
        fields = {
          inherit google access defaults;
          workspaces = workspaces login (file.google.project or null) (
            if wrongDefaults then { } else defaultsValue
          );
        };
        required = {
          google = "[google] with project, region and zones";
          workspaces = "[workspaces.NAME] with owner for each one";
        };
      } "" file
      # Without [access] the exposure is public, which needs an address.
      ++ optionals (!file ? access) (access "access" { });

  fleet =
    file:
    let
      exposure = exposureOf (file.access or { });
      public = exposure == "public";
    in
    {
      google = {
        inherit (file.google) project region zones;
      };
      access = {
        inherit exposure;
        login = if public then file.access.login or "password" else null;
        acme_email = file.access.acme_email or null;
        acme_server = file.access.acme_server or null;
      };
      workspaces = mapAttrs (
        name: value:
        effective (file.defaults or { }) value
        // {
          inherit name;
          domain = if public then "${name}.endpoints.${file.google.project}.cloud.goog" else null;
        }
      ) file.workspaces;
    };

  read =
    path:
    let
      file = fromTOML (readFile path);
      found = problems file;
      line = p: "fleet.toml: ${if p.key == "" then "" else p.key + ": "}${p.what}. ${p.mend}";
    in
    if found == [ ] then fleet file else throw (concatMapStringsSep "\n" line found);
in
{
  inherit problems;
  __functor = _: read;
}
