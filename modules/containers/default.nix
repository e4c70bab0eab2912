# Containers for the owner, without sudo: docker, or rootless podman under docker's name.
# What runs keeps running through a switch, and nothing is published to the network unless
# its address is named.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkForce
    mkIf
    mkOption
    types
    ;
  cfg = config.workspace.containers;
  inherit (config.workspace) home owner user;
in
{
  imports = [
    ../workspace
    ../home
  ];

  options.workspace.containers = {
    engine = mkOption {
      type = types.enum [
        "docker"
        "podman"
        "none"
      ];
      default = "docker";
      description = ''
        `docker`: the daemon; its group, and so the owner, is root on the machine.
        `podman`: without a daemon and without root, as the owner, who calls it `docker`, too;
        its images and containers are in their home.
      '';
      example = "podman";
    };

    onHomeDisk = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether docker keeps images, containers and volumes on the disk that outlives the
        machine. Otherwise a machine built anew starts without them. A change is for the next
        start of the daemon, and moves nothing.
      '';
      example = true;
    };
  };

  config = lib.mkMerge [
    (mkIf (cfg.engine == "docker") {
      assertions = [
        {
          assertion = cfg.onHomeDisk -> home.device != null;
          message = "workspace.containers.onHomeDisk: there is no home disk; set workspace.home.device, or leave this off.";
        }
      ];

      virtualisation.docker = {
        enable = true;
        # A machine that becomes somebody's workspace would keep the folder that it began with.
        enableOnBoot = lib.mkDefault (owner != null);
        # Kept small by docker itself, and read by `docker logs`.
        logDriver = "local";
        autoPrune = {
          enable = true;
          randomizedDelaySec = "45min";
        };
        daemon.settings = {
          # The daemon may go while containers stay.
          live-restore = true;
          # Docker's rules come before the machine's firewall: `-p 8080:80` would open a port
          # to the network. On networks of the owner's own, as of `docker compose`, the second
          # says the same. `-p 0.0.0.0:8080:80` still does what it says.
          ip = "127.0.0.1";
          default-network-opts.bridge."com.docker.network.bridge.host_binding_ipv4" = "127.0.0.1";
          data-root = mkIf cfg.onHomeDisk "/persist/docker";
        };
      };
      users.users.${user}.extraGroups = mkIf (owner != null) [ "docker" ];

      systemd.services.docker = {
        # Takes effect when the machine starts. Even with live-restore nothing can be built
        # or begun, and attached terminals end, while it restarts.
        restartIfChanged = false;
        unitConfig.RequiresMountsFor = mkIf cfg.onHomeDisk "/persist";
        # The disk may come late.
        wantedBy = mkIf cfg.onHomeDisk [ "workspace-disk.service" ];
      };
      # `docker system prune` removes stopped containers, and what was made in them.
      systemd.services.docker-prune.serviceConfig.ExecStart =
        let
          docker = lib.getExe config.virtualisation.docker.package;
        in
        mkForce [
          "${docker} image prune --force"
          "${docker} builder prune --force --filter until=168h"
        ];
    })

    (mkIf (cfg.engine == "podman") {
      assertions = [
        {
          assertion = !cfg.onHomeDisk;
          message = "workspace.containers.onHomeDisk: podman's images are in the owner's home, which is on that disk anyway; leave this off.";
        }
      ];

      virtualisation.podman = {
        enable = true;
        dockerCompat = true;
        # Containers of one `compose` project know each other by name.
        defaultNetwork.settings.dns_enabled = true;
      };
      environment.systemPackages = [ pkgs.podman-compose ];

      users.users.${user} = mkIf (owner != null) {
        # Files in images belong to these. They outlive the machine, so the numbers must, too.
        subUidRanges = [
          {
            startUid = 100000;
            count = 65536;
          }
        ];
        subGidRanges = [
          {
            startGid = 100000;
            count = 65536;
          }
        ];
        # Containers go on when the last SSH session ends.
        linger = true;
      };
      # The editor's terminals are no sessions of their own, and podman looks for the owner's
      # systemd there.
      environment.extraInit = ''
        if [ -z "''${XDG_RUNTIME_DIR-}" ] && [ -d "/run/user/$(id -u)" ]; then
          export XDG_RUNTIME_DIR="/run/user/$(id -u)"
        fi
      '';
    })
  ];
}
