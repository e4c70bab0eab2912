# The configuration of a workspace that has these modules and no other.
{ pkgs }:
modules:
(import "${pkgs.path}/nixos/lib/eval-config.nix" {
  system = null;
  modules = modules ++ [
    {
      nixpkgs.hostPlatform = pkgs.stdenv.hostPlatform.system;
      workspace.name = "alice";
    }
  ];
}).config
