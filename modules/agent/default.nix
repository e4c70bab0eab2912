# Keeps the machine on the system that the fleet wants: fetches it from the fleet's cache, tries
# it, commits it if the machine stays healthy, and goes back by itself if not.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkIf
    mkOption
    types
    ;
  cfg = config.workspace.agent;
  inherit (config.workspace) domain exposure owner;

  # What a browser would see first.
  page =
    if owner != null && exposure == "public" then
      "https://${toString domain}/oauth2/sign_in"
    else
      "http://localhost/";

  settings = {
    inherit (cfg) bucket port;
    graceSeconds = cfg.graceSeconds;
    trialSeconds = cfg.trialSeconds;
    rebootSeconds = cfg.rebootHours * 3600;
    idle = cfg.idle;
    mayFail = config.workspace.unitsThatMayFail;
    checks = lib.mapAttrs (_name: check: {
      inherit (check) command timeoutSeconds;
    }) config.workspace.health.checks;
  };
in
{
  imports = [ ../workspace ];

  options.workspace = {
    health.checks = mkOption {
      type = types.attrsOf (
        types.submodule {
          options = {
            command = mkOption {
              type = types.path;
              description = ''
                Program that succeeds when all is well. What it writes last is the reason
                that operators read when it fails.
              '';
              example = lib.literalExpression ''pkgs.writeShellScript "gpu" "exec nvidia-smi -L"'';
            };
            timeoutSeconds = mkOption {
              type = types.ints.between 1 300;
              default = 30;
              description = "How long it may take.";
              example = 60;
            };
          };
        }
      );
      default = { };
      description = ''
        What must be well for a new system to be kept, besides that no unit fails that did not
        fail before, but for {option}`workspace.unitsThatMayFail`, and that the metadata server
        can be reached. A check that failed before the
        switch is not held against the new system.
      '';
      example = lib.literalExpression ''{ gpu.command = "''${config.hardware.nvidia.package.bin}/bin/nvidia-smi"; }'';
    };

    agent = {
      package = mkOption {
        type = types.package;
        default = pkgs.callPackage ./package.nix { };
        defaultText = lib.literalMD "the crate `agent` of this repository";
        description = "Package of the command `workspace`.";
        example = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      };

      bucket = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = ''
          Bucket of the fleet's binary cache. The agent offers it to Nix at
          {option}`workspace.agent.port` of 127.0.0.1, and asks it with the token of the machine's
          service account. `null`: systems come from the other substituters alone.
        '';
        example = "acme-data-science-workspace-cache";
      };

      port = mkOption {
        type = types.port;
        default = 8451;
        description = "Port on 127.0.0.1 of the fleet's binary cache.";
        example = 5000;
      };

      publicKeys = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Public keys of the fleet's binary cache. A system must be signed by one of them.";
        example = [ "acme-data-science-1:+2gHLtZSzL5cCWZ/RnwYeUiWJ7hQ8HEMKmfFZa3yNcU=" ];
      };

      graceSeconds = mkOption {
        type = types.ints.between 5 3600;
        default = 60;
        description = "How long a new system must be healthy without a break before it is committed.";
        example = 300;
      };

      trialSeconds = mkOption {
        type = types.ints.between 10 7200;
        default = 240;
        description = "Within which time it must have been healthy for so long; then the old one comes back.";
        example = 900;
      };

      rebootHours = mkOption {
        type = types.ints.between 0 720;
        default = 24;
        description = ''
          How long an update of the kernel waits for an idle moment. Then the machine reboots,
          which is said in every terminal ten minutes before.
        '';
        example = 72;
      };

      idle = mkOption {
        type = types.path;
        default = lib.getExe (
          pkgs.writeShellApplication {
            name = "workspace-is-idle";
            runtimeInputs = [
              pkgs.gawk
              config.systemd.package
            ];
            text = builtins.readFile ./idle.sh;
          }
        );
        defaultText = lib.literalMD "a program that looks for sessions, and for a load of more than a tenth of a core";
        description = "Program that succeeds when nobody is at work, so that the machine may reboot.";
        example = lib.literalExpression ''pkgs.writeShellScript "idle" "! pgrep --uid alice"'';
      };
    };
  };

  config = {
    assertions = [
      {
        assertion = cfg.bucket == null || cfg.publicKeys != [ ];
        message = "workspace.agent.publicKeys: without a public key nothing from workspace.agent.bucket is accepted; add the one that `cargo xtask cache key` prints.";
      }
      {
        assertion = cfg.graceSeconds < cfg.trialSeconds;
        message = "workspace.agent.trialSeconds: a system cannot be healthy for ${toString cfg.graceSeconds} seconds within ${toString cfg.trialSeconds}; set more.";
      }
    ];

    environment.systemPackages = [ cfg.package ];
    environment.etc."workspace-agent.json".text = builtins.toJSON settings;

    nix.settings = {
      substituters = mkIf (cfg.bucket != null) [ "http://127.0.0.1:${toString cfg.port}" ];
      trusted-public-keys = cfg.publicKeys;
      # Else Nix's database may know a path whose files a power cut has left empty.
      fsync-store-paths = true;
    };

    # For the garbage collector, and where the journal is.
    systemd.services.workspace-agent = {
      description = "The system that the fleet wants";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      path = [
        config.nix.package
        config.systemd.package
        pkgs.coreutils
        pkgs.util-linux
      ];
      # The same system also boots on a laptop, where there is no metadata server to ask.
      unitConfig.ConditionFirmware = lib.mkDefault ''smbios-field(product_name = "Google Compute Engine")'';
      environment.XDG_CACHE_HOME = "/var/cache/workspace-agent";
      serviceConfig = {
        ExecStart = "${lib.getExe cfg.package} agent";
        Restart = "always";
        RestartSec = 5;
        StateDirectory = "workspace-agent";
        CacheDirectory = "workspace-agent";
        # A machine short of memory must still be able to go back.
        OOMScoreAdjust = -500;
      };
      startLimitIntervalSec = 0;
    };

    # A kernel that panics comes back with the old system: the new one's entry is chosen once.
    boot.kernelParams = [ "panic=30" ];

    workspace.health.checks = mkIf (options.workspace ? gateway && config.services.nginx.enable) {
      login-page.command = lib.getExe (
        pkgs.writeShellApplication {
          name = "login-page-answers";
          runtimeInputs = [ pkgs.curl ];
          # The certificate may be nginx's own for the first minutes of a machine.
          text = ''
            fail=(--fail)
            ${lib.optionalString (config.workspace.gateway.login == "google") ''
              # An OAuth client is made by hand, when the machine may have run for long: until then
              # the login does not start, and nginx answers in its place.
              [ -e ${config.services.oauth2-proxy.keyFile} ] || fail=()
            ''}
            curl --silent --show-error "''${fail[@]}" --insecure --max-time 10 --output /dev/null \
              --connect-to ::127.0.0.1: ${lib.escapeShellArg page}
          '';
        }
      );
    };
  };
}
