# The text of a Nix file for `workspace.own.evaluate`: a workspace's system with a module of
# its owner's added, on the machine itself. What the system is made of travels along with
# it, for layered.nix to read.
{
  nixpkgs,
  fleet,
  name,
}:
let
  inherit (nixpkgs) lib;
  inherit (lib) fileset;

  others = lib.filterAttrs (entry: type: type == "directory" && entry != name) (builtins.readDir ./.);
  # A change to another workspace, or to xtask, is no new system.
  source = fileset.toSource {
    root = ../.;
    fileset = fileset.unions [
      (fileset.difference ./. (fileset.unions (map (other: ./${other}) (lib.attrNames others))))
      ../modules
      ../templates
      ../crates/agent/Cargo.lock
      ../crates/agent/Cargo.toml
      ../crates/agent/src
    ];
  };
  travels = {
    inherit name;
    source = "${source}";
    nixpkgs = "${nixpkgs}";
    # What a system's version is made of.
    info = builtins.intersectAttrs {
      lastModified = null;
      lastModifiedDate = null;
      rev = null;
      shortRev = null;
    } nixpkgs;
    fleet = fleet // {
      workspaces.${name} = fleet.workspaces.${name};
    };
  };
in
''
  { module, deployed }:
  let
    travels = builtins.fromJSON ${lib.strings.escapeNixString (builtins.toJSON travels)};
  in
  import "''${travels.source}/hosts/layered.nix" (travels // { inherit module deployed; })
''
