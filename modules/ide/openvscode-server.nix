{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.workspace.ide;
  inherit (config.workspace) owner servers user;
  account = config.users.users.${user};
  inherit (account) home;
  inSystemEnvironment = import ../workspace/in-system-environment.nix { inherit config pkgs; };
in
{
  services.openvscode-server =
    lib.mkIf (cfg.enable && owner != null && cfg.editor == "openvscode-server")
      {
        enable = true;
        package = inSystemEnvironment cfg.editor cfg.package;
        inherit user;
        inherit (account) group;
        serverDataDir = "${home}/.openvscode-server";
        extensionsDir = "${home}/.openvscode-server/extensions";
        socketPath = servers.openvscode-server.socket;
        # Who may connect is decided by the folder of the socket, and a token would have
        # to stand in the unit.
        withoutConnectionToken = true;
        telemetryLevel = "off";
        extraArguments = [
          "--server-base-path=/edit"
          "--reconnection-grace-time=${toString (cfg.graceHours * 3600)}"
        ];
      };
}
