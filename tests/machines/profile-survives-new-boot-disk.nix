# What the owner has installed with `nix profile` is there on a machine with another boot
# disk and the same home disk: from its copy there, without a network; and if that is lost,
# by the manifest.
{ modules }:
{
  name = "profile-survives-new-boot-disk";

  nodes.machine =
    { lib, ... }:
    {
      imports = [
        modules.home
        modules.own
        modules.tools
        ../common/nix-daemon.nix
        ../common/persist-in-test-machine.nix
      ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
        home.device = "/dev/disk/by-id/virtio-home";
      };
      nix.settings.substituters = lib.mkForce [ ];
      networking.useDHCP = false;
      virtualisation = {
        writableStore = true;
        # On the boot disk, which is what goes.
        writableStoreUseTmpfs = false;
        emptyDiskImages = [
          {
            size = 512;
            driveConfig.deviceExtraOpts.serial = "home";
          }
        ];
      };
    };

  testScript =
    { nodes, ... }:
    ''
      import shlex

      kept = "/var/lib/workspace-own/profiles"
      roots = f"{kept}/store/nix/var/nix/gcroots"
      restore = "workspace-profile-restore.service"
      # The rest of the machine: what is built anew.
      boot_disk = machine.state_dir / "${nodes.machine.virtualisation.diskImage}"

      def owner(command):
          return machine.succeed(f"su - alice -c {shlex.quote('set -e\n' + command)}")

      def boots():
          machine.start()
          machine.wait_for_unit("multi-user.target", timeout=900)
          # On a slow machine the disk may come after the login is open.
          machine.wait_until_succeeds("mountpoint /home", timeout=300)

      def is_built_anew():
          machine.shutdown()
          boot_disk.unlink()
          boots()

      def is_kept(path):
          machine.wait_until_succeeds(f"test $(readlink {roots}/profile) = {path}", timeout=300)

      boots()

      with subtest("the owner installs from a flake, and a path"):
          machine.wait_for_unit(restore)
          owner(
              r"""
              mkdir --parents flake/bin path/bin
              printf '#!/bin/sh\necho from the flake\n' > flake/bin/of-flake
              printf '#!/bin/sh\necho from a path\n' > path/bin/of-path
              chmod +x */bin/*
              echo '{ outputs = { self }: { packages.x86_64-linux.tool = derivation {
                name = "tool"; system = "builtin"; builder = "builtin:buildenv";
                derivations = [ "true" 5 1 ./. ]; manifest = builtins.toFile "manifest" "";
              }; }; }' > flake/flake.nix
              nix profile add ./flake#tool
              nix profile add $(nix store add ./path)
              """
          )
          assert owner("of-flake; of-path") == "from the flake\nfrom a path\n"

      with subtest("it is copied to the home disk"):
          path = owner("readlink -f .local/state/nix/profiles/profile").strip()
          is_kept(path)

      with subtest("a machine built anew has it, without a network"):
          is_built_anew()
          machine.wait_for_unit(restore)
          assert owner("readlink -f .local/state/nix/profiles/profile").strip() == path
          assert owner("of-flake; of-path") == "from the flake\nfrom a path\n"
          machine.fail("test -e /run/workspace/notice.txt")

      with subtest("and keeps it from the garbage collector"):
          assert "/profiles/profile-" in machine.succeed(f"nix-store --query --roots {path}")

      with subtest("what is removed leaves the home disk, too"):
          tool = owner("readlink -f $(type -P of-flake)").strip().removesuffix("/bin/of-flake")
          machine.succeed(f"ls -d {kept}/store{tool}")
          owner("nix profile remove tool")
          machine.wait_until_fails(f"ls -d {kept}/store{tool}", timeout=300)
          owner("nix profile add ./flake#tool")
          is_kept(owner("readlink -f .local/state/nix/profiles/profile").strip())

      with subtest("without the copy it is made again by the manifest, and what cannot be had is named"):
          machine.wait_until_fails("systemctl is-active workspace-profile-keep", timeout=300)
          machine.succeed(f"rm -rf {kept}/store")
          is_built_anew()
          machine.wait_until_succeeds(f"systemctl is-failed {restore}", timeout=300)
          assert owner("of-flake") == "from the flake\n"
          machine.fail("su - alice -c of-path")
          assert "Missing: " in machine.succeed("cat /run/workspace/notice.txt")
          assert "Missing" not in machine.succeed("cat /run/workspace/notice.html")

      with subtest("that is tried again, and nothing is forgotten"):
          owner("nix store add ./path")
          machine.succeed(f"systemctl restart {restore}")
          assert owner("of-flake; of-path") == "from the flake\nfrom a path\n"
          machine.fail("test -e /run/workspace/notice.txt")
          machine.fail(f"test -e {kept}/profile.missing.json")
    '';
}
