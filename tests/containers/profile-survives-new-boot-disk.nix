# What the owner has installed with `nix profile` is there on another machine that gets what
# lies on the home disk: from its copy there, without a network; and if that is lost, by the
# manifest.
{ modules }:
let
  machine = { lib, ... }: {
    imports = [
      modules.own
      modules.tools
      ../common/writable-store.nix
    ];
    workspace = {
      name = "alice";
      owner = "alice@acme.example";
    };
    nix.settings.substituters = lib.mkForce [ ];
  };
in
{
  name = "profile-survives-new-boot-disk";

  containers = {
    first = machine;
    second = machine;
    third = machine;
  };

  testScript = ''
    import shlex

    kept = "/var/lib/workspace-own/profiles"
    roots = f"{kept}/store/nix/var/nix/gcroots"

    def owner(command):
        return machine.succeed(f"su - alice -c {shlex.quote('set -e\n' + command)}")

    def moves_to(new, losing=""):
        """What lies on the home disk comes to another machine, before that looks for it."""
        machine.succeed("systemctl start workspace-profile-keep", f"rm -rf {losing}")
        machine.succeed("tar --create --file /tmp/shared/disk.tar /home/alice /var/lib/workspace-own")
        new.start()
        new.wait_for_unit("multi-user.target")
        new.succeed("systemctl stop workspace-profile-restore", "tar --extract --file /tmp/shared/disk.tar --directory /")
        return new

    machine = first
    machine.start()
    machine.wait_for_unit("multi-user.target")

    with subtest("the owner installs from a flake, and a path"):
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
        machine.wait_until_succeeds(f"test $(readlink {roots}/profile) = {path}", timeout=60)

    with subtest("a machine built anew has it, without a network"):
        machine = moves_to(second)
        machine.fail(f"test -e {path}")
        machine.succeed("systemctl start workspace-profile-restore")
        assert owner("readlink -f .local/state/nix/profiles/profile").strip() == path
        assert owner("of-flake; of-path") == "from the flake\nfrom a path\n"
        machine.fail("test -e /run/workspace/notice.txt")

    with subtest("and keeps it from the garbage collector"):
        assert "/profiles/profile-" in machine.succeed(f"nix-store --query --roots {path}")

    with subtest("what is removed leaves the home disk, too"):
        tool = owner("readlink -f $(type -P of-flake)").strip().removesuffix("/bin/of-flake")
        machine.succeed(f"ls -d {kept}/store{tool}")
        owner("nix profile remove tool")
        machine.wait_until_fails(f"ls -d {kept}/store{tool}", timeout=60)
        owner("nix profile add ./flake#tool")
        path = owner("readlink -f .local/state/nix/profiles/profile").strip()
        machine.wait_until_succeeds(f"test $(readlink {roots}/profile) = {path}", timeout=60)

    with subtest("without the copy it is made again by the manifest, and what cannot be had is named"):
        machine = moves_to(third, losing=f"{kept}/store")
        machine.fail("systemctl start workspace-profile-restore")
        assert owner("of-flake") == "from the flake\n"
        machine.fail("su - alice -c of-path")
        assert "Missing: " in machine.succeed("cat /run/workspace/notice.txt")
        assert "Missing" not in machine.succeed("cat /run/workspace/notice.html")

    with subtest("that is tried again, and nothing is forgotten"):
        owner("nix store add ./path")
        machine.succeed("systemctl restart workspace-profile-restore")
        assert owner("of-flake; of-path") == "from the flake\nfrom a path\n"
        machine.fail("test -e /run/workspace/notice.txt")
        machine.fail(f"test -e {kept}/profile.missing.json")
  '';
}
