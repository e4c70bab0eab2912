# From fleet.toml to NixOS configurations: one a workspace, and one an image profile.
{
  nixpkgs,
  modules,
  file ? ../fleet.toml,
  fleet ? import ./fleet.nix { inherit (nixpkgs) lib; } file,
}:
let
  inherit (nixpkgs) lib;

  accelerators = {
    base = [ ];
    cuda = [ modules.cuda ];
  };

  capabilities = fromTOML (builtins.readFile ./gpus.toml);
  # Of the GPUs in a workspace's machine, if they are known here.
  capabilityOf =
    workspace:
    let
      family = builtins.head (lib.splitString "-" workspace.machine_type);
    in
    capabilities.${if workspace.gpu == null then family else workspace.gpu.type} or null;

  modulesOf =
    image: extra:
    [
      modules.workspace
      modules.gce
      modules.gateway
      modules.ide
      modules.jupyter
      modules.home
      modules.ssh
      modules.storage
      modules.containers
      modules.own
      modules.vm
      modules.tools
      modules.scale-out
      modules.hardening
      modules.monitoring
      modules.agent
      cache
      { system.stateVersion = lib.mkDefault "26.05"; }
    ]
    ++ accelerators.${image}
    ++ extra;

  system =
    modules:
    lib.nixosSystem {
      modules = modules ++ [ { nixpkgs.hostPlatform = "x86_64-linux"; } ];
    };

  # Until there is a key nothing could be accepted from there.
  cache = lib.optionalAttrs (builtins.pathExists ./cache-key.pub) {
    workspace.agent = {
      # As xtask and terraform call it.
      bucket = "${fleet.google.project}-workspace-cache";
      publicKeys = [ (lib.trim (builtins.readFile ./cache-key.pub)) ];
    };
  };

  # What is special to one workspace, if anything is.
  own = name: lib.optional (builtins.pathExists ./${name}/default.nix) ./${name};

  # Its owner can add a module to it on the machine.
  takesModule =
    name:
    { pkgs, ... }:
    {
      workspace.own.evaluate = pkgs.writeText "evaluate.nix" (
        import ./layer.nix { inherit fleet name nixpkgs; }
      );
    };
in
rec {
  workspaces = lib.mapAttrs (
    name: modules: system (modules ++ [ (takesModule name) ])
  ) modulesOfWorkspaces;

  # What each workspace is made of, for machines of tests.
  modulesOfWorkspaces = lib.mapAttrs (
    name: workspace:
    modulesOf workspace.image (
      [
        {
          workspace = {
            inherit name;
            inherit (workspace) owner domain;
            inherit (fleet.access) exposure;
            scaleOut.project = workspace.scale_out_project;
            # The name that terraform gives the home disk's attachment.
            home.device = "/dev/disk/by-id/google-home";
            gce = { inherit (workspace) spot; };
            gateway = lib.mkIf (fleet.access.exposure == "public") {
              inherit (fleet.access) login;
              acmeEmail = fleet.access.acme_email;
              acmeServer = fleet.access.acme_server;
              allowedEmails = workspace.allowed_emails;
            };
          };
          image.repart.name = name;
        }
      ]
      ++ lib.optional (workspace.image == "cuda") {
        workspace.cuda.capability = capabilityOf workspace;
      }
      ++ own name
    )
  ) fleet.workspaces;

  # Nobody's machines: a warm store for whichever workspace they are given.
  profiles = lib.mapAttrs (
    name: _:
    system (
      modulesOf name [
        {
          workspace = { inherit name; };
          image.repart.name = name;
        }
      ]
    )
  ) accelerators;
}
