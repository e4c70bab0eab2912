# Every test, named by the claim that its file's name makes. `checks` need nothing but Nix;
# `vm` and `reboot`, the tests that boot machines, need KVM, or patience: without it those of
# `vm` take minutes, and those of `reboot`, which boot images of their own again and again, a
# quarter of an hour.
{
  modules,
  nixpkgs,
  pkgs,
}:
let
  inherit (pkgs) lib;
  claims =
    folder:
    lib.mapAttrs' (
      file: _:
      lib.nameValuePair (lib.removeSuffix ".nix" file) (
        pkgs.testers.runNixOSTest (import (folder + "/${file}") { inherit modules; })
      )
    ) (builtins.readDir folder);
  docs = import ../docs/options.nix { inherit lib modules pkgs; };
in
{
  inherit docs;

  checks =
    claims ./containers
    // {
      every-fleet-evaluates = import ./every-fleet-evaluates.nix { inherit modules nixpkgs pkgs; };
      cuda-is-cached = import ./cuda-is-cached.nix { inherit modules nixpkgs pkgs; };
      docs-are-fresh = import ./docs-are-fresh.nix { inherit docs pkgs; };
      owner-module-evaluates = import ./owner-module-evaluates.nix { inherit modules nixpkgs pkgs; };
      fleet = import ./fleet.nix { inherit lib pkgs; };
      monitoring-settings = import ./monitoring-settings.nix { inherit lib modules pkgs; };
      units-are-confined = import ./units-are-confined.nix {
        inherit
          lib
          modules
          nixpkgs
          pkgs
          ;
      };
      manylinux = import ./manylinux.nix { inherit lib modules pkgs; };
    }
    // import ./format.nix { inherit lib pkgs; }
    // import ./templates.nix { inherit lib nixpkgs pkgs; }
    // import ./every-module-alone.nix { inherit lib modules pkgs; };

  vm = claims ./machines;
  reboot = claims ./reboots;

  # Apart, for each needs more than all checks together: Chromium, SkyPilot.
  large = claims ./browser // {
    scale-out-settings = import ./scale-out-settings.nix { inherit lib modules pkgs; };
  };
}
