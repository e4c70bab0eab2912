# Every test, by what it claims. `checks` need nothing but Nix; `vm` need KVM, or patience.
{
  modules,
  nixpkgs,
  pkgs,
}:
let
  inherit (pkgs) lib;
  test = file: pkgs.testers.runNixOSTest (import file { inherit modules; });
in
{
  checks = {
    every-fleet-evaluates = import ./every-fleet-evaluates.nix { inherit modules nixpkgs pkgs; };
    fleet = import ./fleet.nix { inherit lib pkgs; };
    https-needs-login = test ./https-needs-login.nix;
    private-needs-no-login = test ./private-needs-no-login.nix;
    password-comes-from-secret-manager = test ./password-comes-from-secret-manager.nix;
  }
  // import ./format.nix { inherit lib pkgs; }
  // import ./every-module-alone.nix { inherit lib modules pkgs; };

  vm = {
    home-is-kept = test ./home-is-kept.nix;
    missing-home-is-loud = test ./missing-home-is-loud.nix;
    image-boots = test ./image-boots.nix;
  };
}
