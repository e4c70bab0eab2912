# Each module builds a system without the others: importing one adopts it.
{
  lib,
  modules,
  pkgs,
}:
let
  # What a module cannot know by itself, and every machine must say.
  machine = {
    nixpkgs.hostPlatform = pkgs.stdenv.hostPlatform.system;
    system.stateVersion = "26.05";
    systemd.enableStrictShellChecks = true;
    boot.loader.grub.enable = false;
    fileSystems."/" = lib.mkDefault {
      device = "/dev/disk/by-label/nixos";
      fsType = "ext4";
    };
  };
  # The vocabulary, where a module has it.
  workspace = {
    workspace = {
      name = "alice";
      owner = "alice@acme.example";
      domain = "alice.acme.example";
    };
  };
  settings = {
    workspace = workspace;
    cuda = workspace;
    gateway = {
      imports = [ workspace ];
      workspace.gateway.acmeEmail = "ops@acme.example";
    };
    home = {
      imports = [ workspace ];
      workspace.home.device = "/dev/disk/by-id/google-home";
    };
    ide = workspace;
    containers = workspace;
    ssh = workspace;
    jupyter = {
      imports = [ workspace ];
      workspace.jupyter.enable = true;
    };
    storage = workspace;
    own = workspace;
    vm = workspace;
    tools = workspace;
    scale-out = {
      imports = [ workspace ];
      workspace.scaleOut = {
        project = "acme-jobs";
        # By the test `scale-out-settings`.
        package = pkgs.runCommand "no-skypilot" {
          passthru.optional-dependencies = {
            gcp = [ ];
            remote = [ ];
          };
        } "mkdir $out";
      };
    };
    hardening = workspace;
    monitoring = {
      imports = [ workspace ];
      workspace.monitoring.enable = true;
      # By the check `monitoring-settings`.
      services.opentelemetry-collector.validateConfigFile = false;
    };
    agent = workspace;
  };
  toplevel =
    name: module:
    (import "${pkgs.path}/nixos/lib/eval-config.nix" {
      system = null;
      modules = [
        machine
        module
        (settings.${name} or { })
      ];
    }).config.system.build.toplevel;
in
lib.mapAttrs' (name: module: lib.nameValuePair "module-${name}" (toplevel name module)) modules
