# The editor: openvscode-server as the owner, on a unix socket, under /edit/.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.ide;
  inherit (config.workspace) owner user;
  directory = "/run/workspace-ide";
  socket = "${directory}/editor.sock";
  group = config.users.users.${user}.group;

  # The server makes its socket with the owner's umask, which is for the owner's files
  # and lets no group write. Until this is done the unit is not up.
  admitNginx = pkgs.writeShellApplication {
    name = "workspace-ide-admit-nginx";
    runtimeInputs = [ pkgs.coreutils ];
    text = ''
      until [ -S ${socket} ]; do
        sleep 0.1
      done
      chmod g+w ${socket}
    '';
  };
in
{
  imports = [ ../workspace ];

  options.workspace.ide = {
    enable = mkOption {
      type = types.bool;
      default = true;
      description = "Whether to run the editor. It waits for {option}`workspace.owner`.";
      example = false;
    };

    package = lib.mkPackageOption pkgs "openvscode-server" { };
  };

  config = mkIf cfg.enable {
    # In the store, so that the first switch to somebody's workspace need not fetch it.
    system.extraDependencies = mkIf (owner == null) [ cfg.package ];

    workspace.routes."/edit/" = mkIf (owner != null) {
      title = "Editor";
      inherit socket;
    };

    services.openvscode-server = mkIf (owner != null) {
      enable = true;
      inherit (cfg) package;
      inherit user;
      inherit group;
      socketPath = socket;
      # Who may connect is decided by the folder of the socket, and a token would have
      # to stand in the unit.
      withoutConnectionToken = true;
      telemetryLevel = "off";
      extraArguments = [ "--server-base-path=/edit" ];
    };

    systemd.services.openvscode-server = mkIf (owner != null) {
      # Terminals, notebooks and debuggers are its children.
      restartIfChanged = false;
      environment.SHELL = lib.getExe config.users.defaultUserShell;
      path = [
        "/run/wrappers"
        "/etc/profiles/per-user/${user}"
        "/run/current-system/sw"
      ];
      serviceConfig = {
        # A socket left by a crash would be taken for a running server.
        ExecStartPre = "${lib.getExe' pkgs.coreutils "rm"} -f ${socket}";
        ExecStartPost = lib.getExe admitNginx;
        WorkingDirectory = "~";
        Restart = lib.mkForce "always";
        RestartSec = 1;
      };
    };

    # Nobody but the owner and nginx gets as far as the socket.
    systemd.tmpfiles.settings.workspace-ide = mkIf (owner != null) {
      ${directory}.d = {
        inherit user;
        group = if config.services.nginx.enable then config.services.nginx.group else group;
        # What is made in here belongs to the folder's group.
        mode = "2710";
      };
    };
  };
}
