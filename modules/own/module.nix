# A NixOS module of the owner's, which `workspace apply` layers on the deployed system. What
# boots is the deployed system; the module follows when the machine is up, and again after
# each patch of the fleet, unless it does not stand its trial: crates/agent/src/own.rs.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.own;
  onDisk = config.workspace.home.device or null != null;
in
{
  options.workspace.own.evaluate = mkOption {
    type = types.nullOr types.path;
    default = null;
    description = ''
      Nix file with the function `{ module, deployed }: SYSTEM`: this very system with the
      NixOS module at the path `module` added, as a derivation. `deployed` is the store path of
      this system, to which the file `deployed` of the new one must lead. All that it needs
      must be in the closure of this system. `null` means that the owner cannot add a module.
    '';
    example = lib.literalExpression ''pkgs.writeText "evaluate.nix" "{ module, deployed }: …"'';
  };

  config = mkIf (config.workspace.owner != null && cfg.evaluate != null) {
    environment.etc."workspace-own.nix".source = cfg.evaluate;

    systemd.services.workspace-own = {
      description = "The owner's own NixOS module";
      after = [ "workspace-disk.service" ];
      # No target wants it: a switch, which it does itself, would wait for it.
      restartIfChanged = false;
      stopIfChanged = false;
      path = [
        config.nix.package
        config.systemd.package
        config.workspace.noticeCommand
        pkgs.coreutils
      ];
      unitConfig.ConditionPathIsMountPoint = mkIf onDisk config.workspace.state.own;
      # However often the owner tries something.
      startLimitIntervalSec = 0;
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${lib.getExe config.workspace.agent.package} settle";
        # That there is the second tells that the first is on the right disk.
        StateDirectory = "workspace-own workspace-own/module";
        StateDirectoryMode = "0700";
        # It goes on where it was.
        Restart = "on-failure";
        RestartSec = 5;
        TimeoutStartSec = "infinity";
      };
    };
    # After a patch the agent starts it.
    systemd.timers.workspace-own = {
      description = "The owner's own NixOS module, at boot, and again where a download failed";
      wantedBy = [ (if onDisk then "workspace-disk.service" else "multi-user.target") ];
      after = [ "workspace-disk.service" ];
      # The disk may come late, and then this begins.
      bindsTo = lib.optional onDisk "workspace-disk.service";
      timerConfig = {
        OnActiveSec = 1;
        OnUnitInactiveSec = "1h";
      };
    };
  };
}
