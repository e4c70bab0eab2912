# What the owner adds to the machine, and what a new boot disk must not take from them.
{ config, lib, ... }:
{
  imports = [
    ../workspace
    ./profile.nix
  ];

  workspace.state.own = lib.mkIf (config.workspace.owner != null) "/var/lib/workspace-own";
}
