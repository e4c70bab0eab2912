# What the owner installs with `nix profile`. Its links lie in the home, which outlives the
# machine, and lead into the Nix store, which does not: so the store paths are kept beside
# the home and put back into the store of a machine built anew.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mkIf;
  inherit (config.workspace) owner user;
  profiles = "${config.users.users.${user}.home}/.local/state/nix/profiles";
  state = "/var/lib/workspace-own";
  # The disk may come late, and then these begin.
  onDisk = config.workspace.home.device or null != null;
  begin = if onDisk then "workspace-disk.service" else "multi-user.target";

  script =
    name:
    "${
      lib.getExe (
        pkgs.writeShellApplication {
          name = "workspace-profile-${name}";
          runtimeInputs = [
            config.nix.package
            config.workspace.noticeCommand
            pkgs.coreutils
            pkgs.jq
            pkgs.util-linux
          ];
          runtimeEnv.NIX_CONFIG = "extra-experimental-features = nix-command flakes";
          text = builtins.readFile ./profile.sh + builtins.readFile ./profile-${name}.sh;
        }
      )
    } ${
      utils.escapeSystemdExecArgs [
        profiles
        "${state}/profiles"
        user
      ]
    }";

  common = {
    # Without the disk, whose absence is told elsewhere, nothing is kept on the boot disk.
    unitConfig.ConditionPathIsMountPoint = mkIf onDisk state;
    # A switch must not wait for gigabytes.
    restartIfChanged = false;
    # However often the profile changes.
    startLimitIntervalSec = 0;
    serviceConfig = {
      Type = "oneshot";
      StateDirectory = "workspace-own";
      StateDirectoryMode = "0700";
      Nice = 10;
      IOSchedulingClass = "idle";
    };
  };
in
{
  config = mkIf (owner != null) {
    # What cannot be had or kept is in a notice of theirs.
    workspace.unitsThatMayFail = [
      "workspace-profile-keep.service"
      "workspace-profile-restore.service"
    ];

    systemd.services.workspace-profile-restore = lib.recursiveUpdate common {
      description = "The owner's Nix profile on a machine built anew";
      wantedBy = [ begin ];
      after = [
        "workspace-disk.service"
        "nix-daemon.socket"
        "network-online.target"
      ];
      wants = [ "network-online.target" ];
      serviceConfig = {
        RemainAfterExit = true;
        ExecStart = script "restore";
      };
    };

    systemd.services.workspace-profile-keep = lib.recursiveUpdate common {
      description = "Copy of the owner's Nix profile beside their home";
      # Also after what an earlier machine did not finish.
      wantedBy = [ begin ];
      after = [ "workspace-profile-restore.service" ];
      serviceConfig.ExecStart = script "keep";
    };
    systemd.paths.workspace-profile-keep = {
      description = "Watch over the owner's Nix profile";
      wantedBy = [ begin ];
      after = [ "workspace-disk.service" ];
      # What was watched before is not what lies on the disk.
      bindsTo = lib.optional onDisk "workspace-disk.service";
      pathConfig.PathChanged = profiles;
    };
  };
}
