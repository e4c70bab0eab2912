# The image boots by its own boot loader to the login page, takes the whole disk, and
# is a NixOS like any other: a second generation is added and booted, garbage is collected,
# and the first one is booted again from its entry of the menu.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  # Twice the image's size.
  diskGiB = 8;
in
{
  name = "image-boots-and-grows";

  nodes.machine =
    { lib, ... }:
    {
      imports = [
        modules.gateway
        modules.gce
        modules.ide
        modules.ssh
        modules.storage
        ../common/own-image.nix
      ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
        inherit domain;
        gateway.acmeEmail = "ops@acme.example";
      };
      environment.etc.generation.text = lib.mkDefault "first";
      specialisation.second.configuration.environment.etc.generation.text = "second";

      virtualisation.memorySize = 2048;
    };

  testScript =
    { nodes, ... }:
    builtins.readFile ../common/own-disk.py
    + ''
      import json

      disk = make_disk(
          "${nodes.machine.virtualisation.qemu.package}/bin/qemu-img",
          "${nodes.machine.system.build.image}/${nodes.machine.image.filePath}",
          ${toString diskGiB},
      )

      def boots(generation):
          # A boot takes minutes where the processor is emulated.
          machine.start()
          machine.wait_for_unit("multi-user.target", timeout=900)
          assert machine.succeed("cat /etc/generation") == generation

      def entries():
          return {entry["id"]: entry for entry in json.loads(machine.succeed("bootctl list --json=short"))}

      boots("first")

      with subtest("it came by the firmware and its own boot loader"):
          assert "systemd-boot" in machine.succeed("bootctl status 2>&1")
          assert machine.succeed("bootctl --print-esp-path").strip() == "/boot"

      with subtest("the login page answers over HTTPS"):
          page = machine.wait_until_succeeds(
              "curl --silent --show-error --fail --location --insecure --resolve ${domain}:443:127.0.0.1 https://${domain}/", timeout=300
          )
          assert 'type="password"' in page, page

      with subtest("nobody can log in before there is a password"):
          status = machine.succeed(
              "curl --silent --insecure --resolve ${domain}:443:127.0.0.1 --output /dev/null --write-out '%{http_code}' "
              "--data 'username=alice@acme.example&password=' https://${domain}/oauth2/sign_in"
          )
          assert status == "401", status

      with subtest("the root takes the whole disk"):
          gib = int(machine.succeed("df --block-size=1G --output=size / | tail -1"))
          assert gib >= ${toString diskGiB} - 2, gib

      with subtest("the machine is somebody of its own"):
          machine.succeed("test -s /etc/machine-id", "test -s /var/lib/workspace-ssh/ssh_host_ed25519_key")

      with subtest("Nix knows what the store holds"):
          machine.succeed("nix-store --verify --check-contents", "nix-store --query --requisites /run/current-system > /dev/null")
          assert machine.succeed("readlink /nix/var/nix/profiles/system").strip() == "system-1-link"
          dead = machine.succeed("nix-store --gc --print-dead").split()
          assert machine.succeed("readlink -f /run/current-system").strip() not in dead

      with subtest("nothing failed but what there is no network for"):
          failed = [unit for unit in machine.succeed("systemctl --failed --no-legend --plain").split("\n") if unit]
          assert all(unit.startswith(("acme-", "systemd-networkd-wait-online.service ")) for unit in failed), failed

      with subtest("a second generation is added and booted"):
          first = entries()
          machine.succeed(
              "nix-env --profile /nix/var/nix/profiles/system --set /run/current-system/specialisation/second",
              "/nix/var/nix/profiles/system/bin/switch-to-configuration boot",
          )
          machine.shutdown()
          boots("second")

      with subtest("what nobody needs is collected, but no system, and nothing that a link names"):
          rubbish, named = machine.succeed("cd /tmp; date > rubbish; date > named; nix-store --add rubbish; nix-store --add named").split()
          machine.succeed(f"nix-store --realise {named} --add-root ~/project/.direnv/flake-profile", "systemctl start nix-gc")
          machine.fail(f"test -e {rubbish}")
          machine.succeed(f"test -e {named}", "test -e /nix/var/nix/profiles/system-1-link/init")

      with subtest("the first is booted again from its entry of the menu"):
          current = machine.succeed("bootctl status --no-pager")
          # The installer has taken the image's own entry over: it stands there once.
          menu = entries()
          of_first = [
              id for id, entry in menu.items()
              if entry.get("version", "").startswith("Generation 1 ") and "specialisation" not in entry.get("title", "") and "(" not in entry.get("title", "")
          ]
          assert len(of_first) == 1, (first, menu, current)
          machine.succeed(f"bootctl set-oneshot {of_first[0]}")
          machine.shutdown()
          boots("first")
    '';
}
