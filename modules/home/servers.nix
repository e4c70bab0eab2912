# No server of the owner's starts without the owner's files; each does once they are there.
{ config, lib, ... }:
let
  cfg = config.workspace.home;
  inherit (config.workspace) owner servers;
in
{
  config = lib.mkIf (cfg.device != null && owner != null) {
    systemd.services = lib.mapAttrs (_name: _server: {
      after = [ "workspace-disk.service" ];
      wantedBy = [ "workspace-disk.service" ];
      unitConfig.ConditionPathIsMountPoint = "/home";
    }) servers;
  };
}
