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
lib.mkIf (cfg.enable && owner != null && cfg.editor == "code-server") {
  services.code-server = {
    enable = true;
    package = inSystemEnvironment cfg.editor cfg.package;
    inherit user;
    inherit (account) group;
    userDataDir = "${home}/.local/share/code-server";
    extensionsDir = "${home}/.local/share/code-server/extensions";
    inherit (servers.code-server) socket;
    # Who may connect is decided by the folder of the socket.
    auth = "none";
    disableTelemetry = true;
    disableUpdateCheck = true;
    disableGettingStartedOverride = true;
    extraEnvironment.CODE_SERVER_RECONNECTION_GRACE_TIME = toString (cfg.graceHours * 3600);
    # It would write itself one with a password that nothing asks for.
    extraArguments = [ "--config=/dev/null" ];
  };

  # It knows no base path, and makes each of its links relative.
  workspace.routes."/edit/".stripPath = true;
}
