# Room on the disks: what nobody needs any more is collected on a schedule, and the owner
# hears of a disk that fills up before it is full.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.storage;
  inherit (config.workspace) home;

  space = pkgs.writeShellApplication {
    name = "workspace-space";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.util-linux
    ];
    text = builtins.readFile ./space.sh;
  };
  guard = pkgs.writeShellApplication {
    name = "workspace-disk-space";
    runtimeInputs = [
      config.workspace.noticeCommand
      pkgs.coreutils
      pkgs.util-linux
    ];
    text = builtins.readFile ./guard.sh;
  };
in
{
  imports = [
    ../workspace
    ../home
  ];

  options.workspace.storage = {
    fullPercent = mkOption {
      type = types.ints.between 50 99;
      default = 85;
      description = ''
        Percentage of a disk in use from which on the owner is told of it, on the login page
        and in new terminals.
      '';
      example = 90;
    };

    keepSystems = mkOption {
      type = types.ints.positive;
      default = 8;
      description = ''
        Number of systems that garbage collection keeps to roll back to, the current one
        included. Newer ones than the current are kept, too.
      '';
      example = 3;
    };
  };

  config = {
    nix.gc = {
      automatic = true;
      # Right after a start that follows days off, others have better use for the disk.
      randomizedDelaySec = "45min";
    };
    systemd.services.nix-gc = {
      # By number, not by age: what `--delete-older-than` leaves of a machine that was off for
      # a month is the one system that may be broken. Nobody else's profiles lose anything.
      preStart = ''
        ${config.nix.package}/bin/nix-env --profile /nix/var/nix/profiles/system --delete-generations +${toString cfg.keepSystems}
      '';
      serviceConfig = {
        Nice = 19;
        IOSchedulingClass = "idle";
      };
      # The owner's profiles and direnv's environments are named by links in their home. If it
      # is not there, they look like garbage.
      unitConfig = mkIf (home.device != null) { ConditionPathIsMountPoint = "/home"; };
    };
    nix.optimise.automatic = true;

    environment.systemPackages = [ space ];

    systemd.services.workspace-disk-space = {
      description = "Word of disks that fill up";
      serviceConfig = import ../workspace/sandbox.nix // {
        Type = "oneshot";
        ExecStart = "${lib.getExe guard} ${toString cfg.fullPercent}";
        RuntimeDirectory = "workspace";
        RuntimeDirectoryPreserve = true;
        # Notices are for all to read.
        UMask = "0022";
      };
    };
    systemd.timers.workspace-disk-space = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnActiveSec = "1min";
        OnUnitInactiveSec = "2min";
        AccuracySec = "10s";
      };
    };
  };
}
