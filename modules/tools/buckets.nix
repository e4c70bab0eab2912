# Buckets of Cloud Storage as folders, read and written as the machine's service account.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (config.workspace) buckets user;
  account = config.users.users.${user};

  mount =
    name: bucket:
    lib.nameValuePair "workspace-bucket-${name}" {
      description = "Bucket ${name} at ${bucket.mountPoint}";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        # A folder in the home is on the home disk.
        "workspace-disk.service"
      ];
      # Somebody may be reading from it.
      restartIfChanged = false;
      # The same system also boots on a laptop, where there is no service account.
      unitConfig = {
        ConditionFirmware = lib.mkDefault ''smbios-field(product_name = "Google Compute Engine")'';
        StartLimitIntervalSec = 0;
      };
      path = [ pkgs.fuse3 ];
      serviceConfig = {
        ExecStartPre = "${lib.getExe' pkgs.coreutils "mkdir"} --parents ${bucket.mountPoint}";
        ExecStart = lib.escapeShellArgs ([
          (lib.getExe' pkgs.gcsfuse "gcsfuse")
          "--foreground"
          "--implicit-dirs"
          "--uid=${toString account.uid}"
          "--gid=${toString config.users.groups.${account.group}.gid}"
          "-o"
          (lib.concatStringsSep "," ([ "allow_other" ] ++ lib.optional bucket.readOnly "ro"))
          name
          bucket.mountPoint
        ]);
        ExecStopPost = "-${lib.getExe' pkgs.util-linux "umount"} --lazy ${bucket.mountPoint}";
        Restart = "on-failure";
        # Access may be granted after the machine has booted.
        RestartSec = 30;
      };
    };
in
{
  options.workspace.buckets = mkOption {
    type = types.attrsOf (
      types.submodule (
        { name, ... }:
        {
          options = {
            mountPoint = mkOption {
              type = types.strMatching "/[A-Za-z0-9._/-]+";
              default = "/buckets/${name}";
              defaultText = lib.literalMD "`/buckets/NAME`";
              description = "Folder that the bucket appears at. It is made if it is not there.";
              example = "/data";
            };
            readOnly = mkOption {
              type = types.bool;
              default = false;
              description = "Whether nothing can be written to it from here, whatever the service account may do.";
              example = true;
            };
          };
        }
      )
    );
    default = { };
    description = ''
      Buckets of Cloud Storage to mount with gcsfuse, by name, for the owner. They are read
      and written as the machine's service account, which must be given access to each:
      `gcloud storage buckets add-iam-policy-binding`. Until it has been, the machine tries
      again every 30 seconds.
    '';
    example = lib.literalExpression ''{ acme-datasets = { mountPoint = "/data"; readOnly = true; }; }'';
  };

  config = lib.mkIf (buckets != { } && config.workspace.owner != null) {
    systemd.services = lib.mapAttrs' mount buckets;
    workspace.unitsThatMayFail = map (name: "workspace-bucket-${name}.service") (lib.attrNames buckets);
  };
}
