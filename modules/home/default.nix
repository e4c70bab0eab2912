# The disk that outlives the machine: the owner's home, and the state that a machine
# built anew must not lose. Without the disk nothing is written in its place.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.home;
  inherit (config.workspace) owner user;
  account = config.users.users.${user};
  notice = lib.getExe config.workspace.noticeCommand;
  begun =
    lib.optional config.services.openssh.enable "sshd.service"
    ++ lib.optional config.services.nginx.enable "nginx.service"
    ++ lib.optionals config.services.oauth2-proxy.enable [
      "workspace-login-prepare.service"
      "oauth2-proxy.service"
    ];

  disk = "/persist";
  unitOf = utils.escapeSystemdPath cfg.device;

  script =
    name: runtimeInputs: file: arguments:
    "${
      lib.getExe (
        pkgs.writeShellApplication {
          inherit name runtimeInputs;
          text = builtins.readFile file;
        }
      )
    } ${utils.escapeSystemdExecArgs arguments}";
in
{
  imports = [
    ../workspace
    ./servers.nix
  ];

  options.workspace.home.device = mkOption {
    type = types.nullOr types.path;
    default = null;
    description = ''
      The disk that holds the owner's home and outlives the machine. It is formatted if
      it is empty, and only then. `null` means that the home is on the boot disk.
    '';
    example = "/dev/disk/by-id/google-home";
  };

  config = mkIf (cfg.device != null && owner != null) {
    workspace.state = {
      home = "/home";
      # A machine built anew orders no new certificate, and its owner stays logged in.
      acme = "/var/lib/acme";
      login = "/var/lib/workspace-login";
    };

    fileSystems.${disk} = import ./file-system.nix cfg.device;
    # Of a disk that cannot be used the login page tells.
    workspace.unitsThatMayFail = [
      "workspace-disk-format.service"
      "systemd-fsck@${unitOf}.service"
      "${utils.escapeSystemdPath disk}.mount"
    ];

    # A disk that was made larger is used at once; the kernel sends word of it.
    services.udev.extraRules = ''
      ACTION=="change", ENV{RESIZE}=="1", SYMLINK=="${lib.removePrefix "/dev/" cfg.device}", RUN+="${config.systemd.package}/bin/systemctl --no-block restart systemd-growfs@${utils.escapeSystemdPath disk}.service"
    '';

    systemd.services.workspace-disk-format = {
      description = "File system on the workspace's disk";
      unitConfig = {
        DefaultDependencies = false;
        BindsTo = "${unitOf}.device";
      };
      after = [ "${unitOf}.device" ];
      before = [ "systemd-fsck@${unitOf}.service" ];
      # The mount goes when this is stopped, and with it the home.
      restartIfChanged = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = script "workspace-disk-format" [
          pkgs.coreutils
          pkgs.diffutils
          pkgs.e2fsprogs
          pkgs.util-linux
        ] ./format.sh [ cfg.device ];
      };
    };

    # Bound by a script rather than by mount units: those would make whatever keeps its
    # state there wait for the disk, the login page too, which must say that it is missing.
    systemd.services.workspace-disk = {
      description = "What lies on the workspace's disk";
      unitConfig = {
        DefaultDependencies = false;
        RequiresMountsFor = disk;
        # Whatever may have come of the mount: never the folder on the boot disk.
        ConditionPathIsMountPoint = disk;
      };
      # What it makes meanwhile in a folder would be hidden under the disk's.
      after = [ "systemd-tmpfiles-setup.service" ];
      before = [
        "basic.target"
        "acme-setup.service"
        "workspace-login-prepare.service"
      ];
      # Also when the disk is attached to a running machine.
      wantedBy = [
        "basic.target"
        "persist.mount"
      ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart =
          script "workspace-disk"
            [
              pkgs.coreutils
              pkgs.util-linux
            ]
            ./bind.sh
            (
              [
                disk
                user
                account.group
                account.home
              ]
              ++ lib.mapAttrsToList (name: folder: "${name}=${folder}") config.workspace.state
            );
        ExecStartPost = [
          # What the system wants in those folders, on a disk that had none of it.
          "-${config.systemd.package}/bin/systemd-tmpfiles --create ${
            utils.escapeSystemdExecArgs (
              map (folder: "--prefix=${folder}") (lib.attrValues config.workspace.state)
            )
          }"
          "${notice} disk-missing"
        ]
        # On a disk that came late: they have begun with what was not there yet.
        ++ lib.optional (
          begun != [ ]
        ) "${config.systemd.package}/bin/systemctl --no-block try-reload-or-restart ${toString begun}";
      };
    };

    systemd.services.workspace-disk-missing = {
      description = "Word that the workspace's disk is missing";
      unitConfig = {
        DefaultDependencies = false;
        ConditionPathIsMountPoint = "!/home";
      };
      after = [ "workspace-disk.service" ];
      # Nobody logs in before.
      before = [
        "basic.target"
        "systemd-user-sessions.service"
      ];
      wantedBy = [ "basic.target" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart =
          script "workspace-disk-missing"
            [
              pkgs.coreutils
              pkgs.e2fsprogs
            ]
            ./missing.sh
            [
              cfg.device
              notice
            ];
      };
    };

    # Made on the disk, not in the folder that the disk is mounted on.
    users.users.${user}.createHome = false;
  };
}
