# A workspace with an agent, and the cloud that it pulls from: `google` is the metadata server and
# the bucket of the binary cache. The systems that the workspace can be switched to are its own
# with one module more.
#
# The script begins with functions to sign, upload, want and wait.
{
  modules,
  name,
  # Modules by name, one a system to switch to.
  next,
  # What else the workspace has from the beginning.
  workspace ? { },
  # Whether it is a machine that boots an image of its own, which takes minutes where the processor
  # is emulated, rather than a container.
  boots ? false,
  testScript,
}:
let
  # A key pair of the tests alone, where nothing needs secrecy.
  secretKey = "test-fleet-1:kOZRuFIVBaDLLi3BcyfUivW1WZAiKrHX+Lm9vsUHwWhSKgFCYR/9ydaopqBb6j63bw5W1Gjyjf9vVW1CQGsxhA==";
  publicKey = "test-fleet-1:UioBQmEf/cnWqKagW+o+t28OVtRo8o3/b1VtQkBrMYQ=";

  google =
    { pkgs, ... }:
    {
      networking.firewall.allowedTCPPorts = [
        80
        8080
      ];
      environment.systemPackages = [
        pkgs.curl
        pkgs.python3
      ];
      nix.settings.experimental-features = [ "nix-command" ];
      systemd.services.cloud = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${pkgs.python3}/bin/python3 ${./cloud.py} /run/cloud";
        serviceConfig.RuntimeDirectory = "cloud";
      };
    };

  container = { pkgs, ... }: {
    imports = [ modules.gateway ];
    workspace.agent = {
      graceSeconds = 5;
      trialSeconds = 20;
    };
    # Containers share their host's store, which is read-only: what is fetched goes on top.
    systemd.services.writable-store = {
      wantedBy = [ "sysinit.target" ];
      before = [ "sysinit.target" ];
      unitConfig.DefaultDependencies = false;
      # A switch must not take it away.
      restartIfChanged = false;
      stopIfChanged = false;
      path = [ pkgs.util-linux ];
      serviceConfig.Type = "oneshot";
      serviceConfig.RemainAfterExit = true;
      script = ''
        mkdir -p /run/writable-store
        mount -t tmpfs tmpfs /run/writable-store
        mkdir /run/writable-store/{upper,work}
        mount -t overlay overlay /nix/store \
          -o lowerdir=/nix/store,upperdir=/run/writable-store/upper,workdir=/run/writable-store/work
      '';
    };
  };

  machine = {
    imports = [
      modules.gce
      ./own-image.nix
    ];
    workspace.agent = {
      graceSeconds = 5;
      trialSeconds = 120;
    };
  };

  machineOrContainer =
    {
      config,
      extendModules,
      lib,
      pkgs,
      ...
    }:
    {
      imports = [
        modules.agent
        workspace
        (if boots then machine else container)
      ];
      workspace.name = "alice";
      workspace.agent = {
        bucket = "cache";
        publicKeys = [ publicKey ];
      };
      environment.systemPackages = [ pkgs.curl ];
      nix.settings.experimental-features = [ "nix-command" ];
      # Where there is no network the public cache would be asked for minutes.
      nix.settings.substituters = lib.mkForce [
        "http://127.0.0.1:${toString config.workspace.agent.port}"
      ];
      system.switch.enable = true;
      systemd.services.workspace-agent = {
        environment = {
          GCE_METADATA_HOST = "192.168.1.1";
          GOOGLE_STORAGE_CUSTOM_ENDPOINT = "http://google/storage/v1/";
        };
        # This is no machine of Google's.
        unitConfig.ConditionFirmware = lib.mkForce null;
      };
      system.build = rec {
        systems = lib.mapAttrs (
          _name: module: (extendModules { modules = [ module ]; }).config.system.build.toplevel
        ) next;
        registrations = lib.mapAttrs (_name: system: pkgs.closureInfo { rootPaths = [ system ]; }) (
          systems // { now = config.system.build.toplevel; }
        );
      };
    };

in
{
  inherit name;

  containers = {
    inherit google;
  }
  // (if boots then { } else { workspace = machineOrContainer; });
  nodes = if boots then { workspace = machineOrContainer; } else { };

  testScript =
    { containers, nodes, ... }@all:
    let
      machine = if boots then nodes.workspace else containers.workspace;
      inherit (machine.system) build;
    in
    (if boots then builtins.readFile ./own-disk.py else "")
    + ''
      import json

      NOW = "${build.toplevel}"
      SYSTEMS = json.loads('${builtins.toJSON build.systems}')
      REGISTRATIONS = json.loads('${builtins.toJSON build.registrations}')

      def upload(name, signed=True):
          """Fills the bucket as `cargo xtask deploy` does."""
          key = "&secret-key=/run/key" if signed else ""
          google.succeed(
              f"env --unset=NIX_REMOTE nix-store --load-db < {REGISTRATIONS[name]}/registration",
              f"env --unset=NIX_REMOTE nix copy --to 'file:///run/cloud/bucket?compression=zstd{key}' {SYSTEMS[name]}",
          )

      def want(name):
          google.succeed(f"echo {SYSTEMS[name]} > /run/cloud/system.new; mv /run/cloud/system.new /run/cloud/system")

      def attribute(key):
          return google.succeed(f"cat /run/cloud/attributes/{key}").strip()

      def wait_for_state(state, timeout=${if boots then "900" else "120"}):
          google.wait_until_succeeds(f"grep --quiet --line-regexp {state} /run/cloud/attributes/state", timeout=timeout)

      def running():
          return workspace.succeed("readlink --canonicalize /run/current-system").strip()

      def booting():
          return workspace.succeed("readlink --canonicalize /nix/var/nix/profiles/system").strip()

      google.start()
      google.wait_for_unit("cloud.service")
      google.wait_for_open_port(80)
      google.succeed("echo '${secretKey}' > /run/key; chmod 600 /run/key")
    ''
    + (
      if boots then
        ''
          def boot():
              workspace.start()
              workspace.wait_for_unit("multi-user.target", timeout=900)

          def booted():
              return workspace.succeed("readlink --canonicalize /run/booted-system").strip()

          disk = make_disk(
              "${machine.virtualisation.qemu.package}/bin/qemu-img",
              "${machine.system.build.image}/${machine.image.filePath}",
              8,
          )
          boot()
        ''
      else
        ''
          workspace.start()
          workspace.wait_for_unit("multi-user.target")
          # What an image brings along: a database that knows the system, and a first generation.
          workspace.succeed(
              f"env --unset=NIX_REMOTE nix-store --load-db < {REGISTRATIONS['now']}/registration",
              f"env --unset=NIX_REMOTE nix-env --profile /nix/var/nix/profiles/system --set {NOW}",
          )
        ''
    )
    + ''
      wait_for_state("unassigned")

    ''
    + (if builtins.isFunction testScript then testScript all else testScript);
}
