# Load, memory, disks, network and the journal in Cloud Monitoring and Cloud Logging, sent by
# OpenTelemetry's collector as the machine's service account.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.monitoring;
  account = "opentelemetry-collector";
  state = "/var/lib/${account}";
  format = pkgs.formats.json { };
in
{
  imports = [ ../workspace ];

  options.workspace.monitoring = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether to send the machine's metrics to Cloud Monitoring and its journal to Cloud
        Logging. Both cost money beyond a free allotment. The journal names the commands that
        the owner ran by `sudo`.
      '';
      example = true;
    };

    intervalSeconds = mkOption {
      type = types.ints.between 10 3600;
      default = 60;
      description = "Seconds between two measurements.";
      example = 300;
    };

    settings = mkOption {
      inherit (format) type;
      default = { };
      description = ''
        Settings of the collector, beside those of the module.
        See <https://opentelemetry.io/docs/collector/configuration/>.
      '';
      example = lib.literalExpression ''{ receivers.journald.priority = "warning"; }'';
    };
  };

  config = mkIf cfg.enable {
    services.opentelemetry-collector = {
      enable = true;
      package = lib.mkDefault pkgs.opentelemetry-collector-contrib;
      # Validated where it is built: a wrong setting ends the build, not the collector. YAML
      # takes JSON as it is.
      configFile = format.generate "opentelemetry-collector.json" cfg.settings;
    };

    workspace.monitoring.settings = {
      extensions.file_storage = {
        directory = state;
        # systemd has made it. But where the settings are validated it is not there, which
        # would be an error.
        create_directory = true;
      };
      receivers.hostmetrics = {
        collection_interval = "${toString cfg.intervalSeconds}s";
        scrapers = {
          cpu.metrics."system.cpu.utilization".enabled = true;
          memory.metrics."system.memory.utilization".enabled = true;
          disk = { };
          filesystem = {
            metrics."system.filesystem.utilization".enabled = true;
            include_fs_types = {
              match_type = "strict";
              fs_types = [
                "ext4"
                "vfat"
              ];
            };
          };
          load = { };
          network = { };
          paging = { };
        };
      };
      receivers.journald = {
        directory = "/var/log/journal";
        priority = lib.mkDefault "info";
        # It goes on where it was, and starts with the machine's first boot.
        start_at = "beginning";
        storage = "file_storage";
      };
      processors = {
        memory_limiter = {
          check_interval = "1s";
          limit_mib = 256;
        };
        # Project, zone and instance, from the metadata server.
        resourcedetection.detectors = [ "gcp" ];
        batch = { };
      };
      exporters.googlecloud.log.default_log_name = "journal";
      service = {
        extensions = [ "file_storage" ];
        pipelines =
          let
            pipeline = receiver: {
              receivers = [ receiver ];
              processors = [
                "memory_limiter"
                "resourcedetection"
                "batch"
              ];
              exporters = [ "googlecloud" ];
            };
          in
          {
            metrics = pipeline "hostmetrics";
            logs = pipeline "journald";
          };
        # Its own, which it would offer on a port.
        telemetry.metrics.level = "none";
      };
    };

    systemd.services.opentelemetry-collector = {
      # The same system also boots on a laptop, where there is nobody to send it to.
      unitConfig.ConditionFirmware = lib.mkDefault ''smbios-field(product_name = "Google Compute Engine")'';
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      # The journal's reader.
      path = [ config.systemd.package ];
      serviceConfig = lib.mapAttrs (_: lib.mkForce) (
        import ../workspace/sandbox.nix
        // {
          # By name, for rules that let it reach the metadata server.
          DynamicUser = false;
          User = account;
          Group = account;
        }
      );
    };
    users.users.${account} = {
      isSystemUser = true;
      group = account;
    };
    users.groups.${account} = { };
  };
}
