# Whatever a fleet file may say, there is a configuration for every workspace of it:
# public and private, either login, with a GPU and without. And there is one with podman.
{
  modules,
  nixpkgs,
  pkgs,
}:
let
  inherit (nixpkgs) lib;
  files = [
    "custom-n1-with-gpu"
    "every-gpu"
    "every-key"
    "longest-name"
    "owner-named-like-a-system-account"
    "private"
    "private-keeps-address"
    "smallest"
  ];
  systems =
    file:
    (import ../hosts {
      inherit modules nixpkgs;
      file = ./fleet/valid/${file}.toml;
    }).workspaces;
  # Evaluated, not built.
  derivation = host: builtins.unsafeDiscardStringContext host.config.system.build.toplevel.drvPath;
  podman = (systems "smallest").alice.extendModules {
    modules = [ { workspace.containers.engine = "podman"; } ];
  };
in
pkgs.writeText "every-fleet-evaluates" (
  builtins.toJSON (
    lib.genAttrs files (file: lib.mapAttrs (_name: derivation) (systems file))
    // {
      podman = derivation podman;
    }
  )
)
