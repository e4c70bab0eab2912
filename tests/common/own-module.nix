# A workspace whose owner adds modules to it. It evaluates them itself, from the sources of
# this very test, to systems that its store has: there is no network to fetch what others
# would be built with.
{
  modules,
  # The test, which is read again on the machine.
  name,
  # What the fleet deploys later: modules by name.
  patches,
  # What the owner applies: files by name. Those that evaluate on the systems of `patches`
  # and on the first one, `none`, by the names of both.
  own,
  evaluates,
  testScript,
}:
{
  inherit name;

  containers.workspace =
    {
      extendModules,
      lib,
      pkgs,
      ...
    }:
    let
      inherit (lib) fileset;
      source = fileset.toSource {
        root = ../..;
        fileset = fileset.unions [
          ../../modules
          ../../tests
          ../../crates/agent/Cargo.lock
          ../../crates/agent/Cargo.toml
          ../../crates/agent/src
        ];
      };
      # As what it is in the store: a copy would be hashed anew by each evaluation.
      nixpkgs = builtins.appendContext (toString pkgs.path) { ${toString pkgs.path}.path = true; };
      evaluate = patch: {
        workspace.own.evaluate = pkgs.writeText "evaluate.nix" ''
          { module, deployed }:
          let
            pkgs = import ${nixpkgs} { system = "${pkgs.stdenv.hostPlatform.system}"; };
            test = pkgs.testers.runNixOSTest (
              import ${source}/tests/containers/${name}.nix { modules = import ${source}/modules; }
            );
          in
          test.containers.workspace.system.build.layered "${patch}" module deployed
        '';
      };
      systems = lib.mapAttrs (
        patch: module:
        extendModules {
          modules = [
            module
            (lib.mkForce (evaluate patch))
          ];
        }
      ) (patches // { none = { }; });
      deployed = lib.mapAttrs (_patch: system: system.config.system.build.toplevel) systems;
      layered =
        patch: module: deployed:
        (systems.${patch}.extendModules {
          modules = [
            module
            { system.systemBuilderCommands = "ln -s ${deployed} $out/deployed"; }
          ];
        }).config.system.build.toplevel;
      expected = map (
        { patch, module }:
        layered patch own.${module} (builtins.unsafeDiscardStringContext "${deployed.${patch}}")
      ) evaluates;
    in
    {
      imports = [
        modules.own
        ./writable-store.nix
      ];
      config = lib.mkMerge [
        (evaluate "none")
        {
          workspace = {
            name = "alice";
            owner = "alice@acme.example";
            agent = {
              graceSeconds = 5;
              trialSeconds = 10;
            };
            health.checks.marker.command = pkgs.writeShellScript "marker" ''
              [ ! -e /etc/unwell ] || { echo "the marker is there"; exit 1; }
            '';
          };
          nix.settings.substituters = lib.mkForce [ ];
          nixpkgs.flake.source = nixpkgs;
          nixpkgs.flake.setNixPath = false;
          nixpkgs.flake.setFlakeRegistry = false;
          system.switch.enable = true;
          environment.etc.deployed.text = lib.mkDefault "none";
          system.build = {
            inherit deployed expected layered;
            registration = pkgs.closureInfo { rootPaths = expected ++ lib.attrValues deployed; };
          };
        }
      ];
    };

  testScript =
    { containers, ... }:
    let
      inherit (containers.workspace.system) build;
    in
    ''
      import json

      DEPLOYED = json.loads('${builtins.toJSON build.deployed}')
      EXPECTED = json.loads('${builtins.toJSON (map toString build.expected)}')

      def running():
          return workspace.succeed("readlink --canonicalize /run/current-system").strip()

      def booting():
          return workspace.succeed("readlink --canonicalize /nix/var/nix/profiles/system").strip()

      def standing():
          return json.loads(workspace.succeed("workspace status --json"))["module"]

      def deploy(patch):
          """As if the fleet wanted it: fetched, tried and committed by the agent."""
          journal = json.dumps({"wanted": DEPLOYED[patch], "task": None, "refused": None})
          workspace.succeed(
              "mkdir --parents /var/lib/workspace-agent",
              f"echo '{journal}' > /var/lib/workspace-agent/journal.json",
              "workspace update",
          )
          assert booting() == DEPLOYED[patch], booting()

      def apply(module):
          workspace.copy_from_host(module, "/tmp/my.nix")
          return "workspace apply /tmp/my.nix 2>&1"

      def wait_for_system(system):
          workspace.wait_until_succeeds(f"test $(readlink --canonicalize /run/current-system) = {system}", timeout=180)

      workspace.start()
      workspace.wait_for_unit("multi-user.target")
      workspace.succeed(
          # The container's systemd tells its host of each switch. Nobody listens there, so that
          # after some it would wait for a place in the queue, for minutes.
          "mount -t tmpfs tmpfs /run/host",
          "env --unset=NIX_REMOTE nix-store --load-db < ${build.registration}/registration",
          f"nix-env --profile /nix/var/nix/profiles/system --set {DEPLOYED['none']}",
      )
      assert running() == booting() == DEPLOYED["none"], running()
    ''
    + testScript;
}
