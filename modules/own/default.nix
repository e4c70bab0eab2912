# What the owner adds to the machine, and what a new boot disk or a patch of the fleet must
# not take from them: their Nix profile, and a NixOS module of their own.
{ config, lib, ... }:
{
  imports = [
    ../agent
    ../workspace
    ./module.nix
    ./profile.nix
  ];

  workspace.state.own = lib.mkIf (config.workspace.owner != null) "/var/lib/workspace-own";
}
