# Word of the end of a Spot machine, which Google takes back at any time and with half a minute's
# notice: that the machine is being shut down.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  preemption = pkgs.writeShellApplication {
    name = "workspace-preemption";
    runtimeInputs = [
      config.workspace.noticeCommand
      pkgs.coreutils
      pkgs.curl
      pkgs.gnused
    ];
    text = builtins.readFile ./preemption.sh;
  };

  # What people work in, as far as it is there.
  used = [
    "docker.service"
    "nginx.service"
  ]
  ++ map (name: "${name}.service") (lib.attrNames (config.workspace.servers or { }));
in
{
  imports = [ ../workspace/notice.nix ];

  options.workspace.gce.spot = lib.mkOption {
    type = lib.types.bool;
    default = false;
    description = ''
      Whether the machine is a Spot machine, which Google may take back at any time. Then the
      owner is told when it does, on the page and in terminals, and has ten seconds
      before the editor, notebooks and docker's containers are stopped.
    '';
    example = true;
  };

  config = lib.mkIf config.workspace.gce.spot {
    systemd.services.workspace-preemption = {
      description = "Word of preemption by Google";
      wantedBy = [ "multi-user.target" ];
      # What this is after is stopped after it when the machine shuts down: all of that is still
      # up while ExecStop runs.
      after = [ "network.target" ] ++ used;
      # The same system also boots on a laptop, where there is no metadata server to ask.
      unitConfig.ConditionFirmware = lib.mkDefault ''smbios-field(product_name = "Google Compute Engine")'';
      startLimitIntervalSec = 0;
      serviceConfig = import ../workspace/sandbox.nix // {
        ExecStart = "${lib.getExe preemption} wait";
        # Also when ExecStart has ended by itself.
        ExecStop = "${lib.getExe preemption} tell";
        Restart = "on-failure";
        RestartSec = 5;
        # Google's half minute is for all that has to stop.
        TimeoutStopSec = 15;
        RuntimeDirectory = "workspace";
        RuntimeDirectoryPreserve = true;
        # Notices are for all to read.
        UMask = "0022";
        # Terminals take text from this group.
        SupplementaryGroups = [ "tty" ];
      };
    };
  };
}
