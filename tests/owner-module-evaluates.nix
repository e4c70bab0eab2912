# What travels along with a workspace's system makes that very system, and the same with a
# module of its owner's: what the fleet does is in both.
{
  modules,
  nixpkgs,
  pkgs,
}:
let
  inherit (nixpkgs) lib;
  fleet = import ../hosts/fleet.nix { inherit lib; } ../fleet.toml;
  deployed = (import ../hosts { inherit fleet modules nixpkgs; }).workspaces;
  evaluate =
    name:
    import (builtins.toFile "evaluate.nix" (import ../hosts/layer.nix { inherit fleet name nixpkgs; }));
  derivation = system: builtins.unsafeDiscardStringContext system.drvPath;
  check =
    name: host:
    let
      same = derivation (
        evaluate name {
          module = null;
          deployed = null;
        }
      );
      layered = derivation (
        evaluate name {
          module = ./common/own-modules/tool.nix;
          deployed = "/nix/store/00000000000000000000000000000000-deployed";
        }
      );
      expected = derivation host.config.system.build.toplevel;
    in
    assert lib.assertMsg (same == expected) "${name}: ${same} instead of ${expected}";
    assert lib.assertMsg (layered != expected) "${name}: the module is not in it";
    layered;
in
pkgs.writeText "owner-module-evaluates" (builtins.toJSON (lib.mapAttrs check deployed))
