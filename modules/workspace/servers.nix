# Servers that run as the owner and hold work: an editor with its terminals, notebooks with
# their kernels. Updates, crashes and lack of memory must not take that work along.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  inherit (config.workspace) owner servers user;
  inherit (config.users.users.${user}) group;
  directory = "/run/workspace-servers";
  # What restart-when-idle.sh must know of each running server. Root's, for root acts upon it.
  started = "/run/workspace-started";

  # A server makes its socket with the owner's umask, which is for the owner's files and
  # lets no group write. Until this is done the unit is not up.
  admitNginx = pkgs.writeShellApplication {
    name = "admit-nginx";
    runtimeInputs = [ pkgs.coreutils ];
    text = ''
      until [ -S "$1" ]; do
        # A server that has ended makes none. Until it has become the owner's it takes no signal.
        [ -d "/proc/$MAINPID" ]
        sleep 0.1
      done
      chmod g+w "$1"
    '';
  };

  record = pkgs.writeShellApplication {
    name = "record-unit";
    runtimeInputs = [ pkgs.coreutils ];
    text = ''
      { readlink --canonicalize "/etc/systemd/system/$1.service"; printf '%s\n' "$2" "$3"; } > "${started}/$1"
    '';
  };

  restartWhenIdle = pkgs.writeShellApplication {
    name = "workspace-restart-when-idle";
    runtimeInputs = [
      config.systemd.package
      pkgs.coreutils
      pkgs.gawk
      pkgs.gnugrep
      pkgs.iproute2
      pkgs.procps
    ];
    text = builtins.readFile ./restart-when-idle.sh;
  };
in
{
  options.workspace.servers = mkOption {
    type = types.attrsOf (
      types.submodule (
        { name, ... }:
        {
          options = {
            socket = mkOption {
              type = types.path;
              readOnly = true;
              default = "${directory}/${name}.sock";
              description = "Unix socket that the server must listen on. nginx and the owner reach it, and nobody else.";
            };
            processes = mkOption {
              type = types.str;
              description = ''
                Extended regular expression for the command lines of the server's own
                processes. While any other process runs in its unit, the server is at work.
              '';
              example = "jupyter-lab";
            };
          };
        }
      )
    );
    default = { };
    description = ''
      Services of systemd that run as the owner and hold work, by the name of their unit.
      No switch to another system ends them: they are restarted when their unit has changed
      and they have neither a connection nor a process at work.
    '';
    example = lib.literalExpression ''{ marimo.processes = "marimo"; }'';
  };

  config = mkIf (owner != null && servers != { }) {
    systemd.services =
      lib.mapAttrs (name: server: {
        restartIfChanged = false;
        # Nor does a switch to a system that has another server in its place.
        unitConfig.X-StopOnRemoval = false;
        startLimitIntervalSec = 0;
        serviceConfig = {
          User = lib.mkDefault user;
          Group = lib.mkDefault group;
          WorkingDirectory = "~";
          ExecStartPre = lib.mkBefore [
            # One left by a crash would be taken for a running server.
            "${lib.getExe' pkgs.coreutils "rm"} -f ${server.socket}"
          ];
          ExecStartPost = [
            "${lib.getExe admitNginx} ${server.socket}"
            "+${lib.getExe record} ${
              utils.escapeSystemdExecArgs [
                name
                server.socket
                server.processes
              ]
            }"
          ];
          Restart = lib.mkForce "always";
          RestartSec = 1;
          # What was started to outlive its terminal (tmux, nohup) outlives the server, too.
          KillMode = "process";
          # A computation that runs out of memory ends alone.
          OOMPolicy = "continue";
          TasksMax = "infinity";
        };
      }) servers
      // {
        workspace-restart-when-idle = {
          description = "Restart of updated servers that nobody uses";
          serviceConfig = {
            Type = "oneshot";
            ExecStart = "${lib.getExe restartWhenIdle} ${started}";
          };
        };
      };
    systemd.timers.workspace-restart-when-idle = {
      wantedBy = [ "timers.target" ];
      timerConfig.OnCalendar = "*:0/5";
    };

    systemd.tmpfiles.settings.workspace-servers = {
      ${started}.d.mode = "0755";
      # Nobody but the owner and nginx gets as far as the sockets.
      ${directory}.d = {
        inherit user;
        group = if config.services.nginx.enable then config.services.nginx.group else group;
        # What is made in here belongs to the folder's group.
        mode = "2710";
      };
    };
  };
}
