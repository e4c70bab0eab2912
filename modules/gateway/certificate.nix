# The certificate: ordered when the machine runs, renewed in time, kept on the lasting disk.
# nginx has one of its own until then, and nothing waits for the certificate authority.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.gateway;
  binding = cfg.acmeExternalAccount;
  inherit (config.workspace)
    domain
    exposure
    name
    owner
    ;
  enabled = owner != null && domain != null && exposure == "public";
  order = "acme-order-renew-${domain}";
  directory = "/run/workspace-acme";

  account = pkgs.writeShellApplication {
    name = "workspace-acme-account";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.jq
      (import ./read-secret.nix { inherit pkgs; })
    ];
    text = builtins.readFile ./acme-account.sh;
  };
in
{
  options.workspace.gateway = {
    acmeEmail = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Address that the certificate authority may write to. Needed when the workspace is public.";
      example = "ops@acme.example";
    };

    acmeServer = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Directory URL of the certificate authority. `null` means Let's Encrypt.";
      example = "https://dv.acme-v02.api.pki.goog/directory";
    };

    acmeExternalAccount = {
      enable = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether the certificate authority wants to know whose account asks (external account
          binding), as Google's public one does.
        '';
        example = true;
      };

      file = mkOption {
        type = types.nullOr types.path;
        default = null;
        description = ''
          File of JSON with `keyId` and `b64MacKey`, as
          `gcloud publicca external-account-keys create --format=json` prints it. It is read
          when the machine runs, by root. `null` means that it is read from Secret Manager, from
          the secret `workspace-NAME-acme-account`.
        '';
        example = "/etc/workspace/acme-account.json";
      };
    };
  };

  config = mkIf enabled {
    security.acme.acceptTerms = true;
    security.acme.defaults = {
      email = mkIf (cfg.acmeEmail != null) cfg.acmeEmail;
      server = mkIf (cfg.acmeServer != null) cfg.acmeServer;
    };

    # The name is not known everywhere when a machine becomes a workspace.
    workspace.unitsThatMayFail = [
      "${order}.service"
      "workspace-acme-account.service"
    ];

    systemd.services.${order} = lib.mkMerge [
      {
        # Without this the next try is tomorrow. The name may not be known everywhere in a
        # machine's first minutes; Let's Encrypt forgives one failure every twelve.
        serviceConfig = {
          Restart = "on-failure";
          RestartSec = lib.mkOverride 90 60;
          RestartSteps = 3;
          RestartMaxDelaySec = 900;
        };
      }
      (mkIf binding.enable {
        wants = [ "workspace-acme-account.service" ];
        after = [ "workspace-acme-account.service" ];
        # Renewals say that they could, and do not need the key.
        environment.LEGO_EAB = "true";
        serviceConfig.EnvironmentFile = [ "-${directory}/eab.env" ];
      })
    ];

    systemd.services.workspace-acme-account = mkIf binding.enable {
      description = "Key that binds the account at the certificate authority";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      # The same system also boots on a laptop, where there is no metadata server to ask.
      unitConfig = mkIf (binding.file == null) {
        ConditionFirmware = lib.mkDefault ''smbios-field(product_name = "Google Compute Engine")'';
      };
      environment = {
        SECRET = "workspace-${name}-acme-account";
        DIRECTORY = directory;
        FILE = lib.optionalString (binding.file != null) "%d/account.json";
      };
      serviceConfig = import ../workspace/sandbox.nix // {
        Type = "oneshot";
        DynamicUser = true;
        LoadCredential = mkIf (binding.file != null) [ "account.json:${binding.file}" ];
        RuntimeDirectory = "workspace-acme";
        RuntimeDirectoryMode = "0700";
        RuntimeDirectoryPreserve = true;
        ExecStart = lib.getExe account;
      };
    };
  };
}
