# Machines beside this one, for what is too large for it: SkyPilot, with which the owner makes
# them in another project, as this machine's service account.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.scaleOut;
  # JSON is YAML.
  json = pkgs.formats.json { };

  # SkyPilot starts itself anew by the interpreter that it runs in, which must know it, too.
  python = pkgs.python3.withPackages (
    _packages:
    [ (pkgs.python3.pkgs.toPythonModule cfg.package) ]
    ++ cfg.package.optional-dependencies.gcp
    ++ cfg.package.optional-dependencies.remote
  );

  sky = pkgs.writeShellApplication {
    name = "sky";
    runtimeInputs = [
      pkgs.google-cloud-sdk
      pkgs.openssh
      pkgs.rsync
    ];
    # In these programs alone: the owner's other ones are to go on with the machine's own project.
    text = ''
      export SKYPILOT_GLOBAL_CONFIG="''${SKYPILOT_GLOBAL_CONFIG:-/etc/skypilot/config.yaml}"
      # It asks for its permissions in the project of its credentials, whatever its settings say.
      export GOOGLE_CLOUD_PROJECT=${cfg.project} CLOUDSDK_CORE_PROJECT=${cfg.project}
      # Else it tells its makers what is run.
      export SKYPILOT_DISABLE_USAGE_COLLECTION=1
      exec ${python}/bin/python -P -c 'import sys; sys.argv[0] = "sky"; from sky.cli import cli; cli()' "$@"
    '';
  };
in
{
  imports = [ ../workspace ];

  options.workspace.scaleOut = {
    project = mkOption {
      type = types.nullOr (types.strMatching "[a-z][a-z0-9-]{4,28}[a-z0-9]");
      default = null;
      description = ''
        Id of the project in which the owner makes machines with SkyPilot; `scale_out_project` of
        fleet.toml. It must not be a project with workspaces: who may make machines in a project
        can become root on all of them. `null`: there is no SkyPilot.
      '';
      example = "acme-jobs";
    };

    settings = mkOption {
      inherit (json) type;
      default = { };
      description = ''
        Settings of SkyPilot, <https://docs.skypilot.co/en/latest/reference/config.html>. A file
        that the owner names in {env}`SKYPILOT_GLOBAL_CONFIG` takes their place.
      '';
      example = lib.literalExpression ''
        {
          gcp.labels.cost-centre = "research";
        }
      '';
    };

    package = mkOption {
      type = types.package;
      default = pkgs.skypilot;
      defaultText = lib.literalExpression "pkgs.skypilot";
      description = "Package of SkyPilot.";
      example = lib.literalExpression "pkgs.skypilot";
    };

    python = mkOption {
      type = types.package;
      default = python;
      defaultText = lib.literalMD "one that knows SkyPilot";
      readOnly = true;
      description = "Python that `sky` runs in, for programs that use SkyPilot as a library.";
    };
  };

  config = mkIf (cfg.project != null) {
    assertions = lib.optional (options.workspace ? hardening) {
      assertion = !config.workspace.hardening.metadataForRootOnly;
      message = "workspace.scaleOut.project: SkyPilot acts as the machine's service account, whose token workspace.hardening.metadataForRootOnly keeps from the owner; leave one of the two off.";
    };

    environment.systemPackages = [ sky ];
    environment.etc."skypilot/config.yaml".source = json.generate "skypilot.yaml" cfg.settings;

    workspace.scaleOut.settings = {
      # It knows two dozen others, and asks each for credentials.
      allowed_clouds = lib.mkDefault [ "gcp" ];
      gcp = {
        # terraform/fleet/scale-out.tf makes it. SkyPilot's own would have port 22 open to everybody.
        vpc_name = lib.mkDefault "skypilot";
        # Its machines act as that project's account for them, not as this workspace.
        remote_identity = lib.mkDefault "SERVICE_ACCOUNT";
        labels.workspace = lib.mkDefault config.workspace.name;
      };
      workspaces.default.gcp.project_id = cfg.project;
      # Jobs are looked after from here: the machine that SkyPilot would make for that reaches
      # others by their public addresses, where SSH is open to workspaces alone.
      jobs.controller.consolidation_mode = lib.mkDefault true;
    };
  };
}
