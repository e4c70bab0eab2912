# The disk of the home is formatted when it is empty and never again: a machine that is
# built anew finds on it the files and the host key of the one before, repairs what a crash
# has left, and leaves a disk with anything else on it alone. The owner comes in by SSH, PAM
# included, and is root when they say so.
{ modules }:
{
  name = "home-is-formatted-once";

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [
        modules.home
        modules.ssh
        ../common/persist-in-test-machine.nix
      ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
        home.device = "/dev/disk/by-id/virtio-home";
      };
      virtualisation.emptyDiskImages = [
        {
          size = 512;
          driveConfig.deviceExtraOpts.serial = "home";
        }
      ];
      networking.useDHCP = false;
      networking.hosts."127.0.0.1" = [ "metadata.google.internal" ];
      systemd.services.metadata = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${pkgs.python3}/bin/python3 ${../common/os-login.py} /tmp/world.json";
      };
    };

  testScript =
    { nodes, ... }:
    ''
      import json

      disk = "/dev/disk/by-id/virtio-home"
      fsck = "systemd-fsck@dev-disk-by\\x2did-virtio\\x2dhome.service"
      # The rest of the machine: what is built anew.
      boot_disk = machine.state_dir / "${nodes.machine.virtualisation.diskImage}"

      def boots():
          machine.start()
          machine.wait_for_unit("multi-user.target", timeout=900)
          # On a slow machine the disk may come after the login is open.
          machine.wait_until_succeeds("mountpoint /home", timeout=300)

      def host_key(expected):
          return machine.wait_until_succeeds(f"ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | grep --fixed-strings '{expected}'", timeout=120)

      def uuid():
          return machine.succeed(f"blkid --output value --match-tag UUID {disk}")

      with subtest("an empty disk is formatted, and the home on it is its owner's"):
          boots()
          identity = uuid()
          known_as = host_key("ed25519").strip()
          assert machine.succeed("stat --format=%U:%a /home/alice").strip() == "alice:700"
          machine.succeed("runuser -u alice -- sh -c 'echo work > /home/alice/work'")

      with subtest("the owner comes in by SSH to that home, and is root when they say so"):
          machine.succeed("ssh-keygen -q -t ed25519 -N ''' -f ~/owner")
          key = machine.succeed("cat ~/owner.pub").strip()
          profile = {"name": "314159265358979323846", "keys": [{"key": key}]}
          world = json.dumps({"profiles": {"alice_acme_example": profile}, "login": [profile["name"]]})
          machine.succeed(f"echo '{world}' > /tmp/world.json")
          machine.wait_for_open_port(80)
          for user in ["alice_acme_example", "alice"]:
              output = machine.succeed(
                  "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -i ~/owner "
                  f"{user}@127.0.0.1 'cat work; id --user --name; sudo --non-interactive id --user' 2>/dev/null"
              )
              assert output.split() == ["work", "alice", "0"], output

      with subtest("a machine that is built anew formats nothing, and is known as the one before"):
          machine.shutdown()
          boot_disk.unlink()
          boots()
          machine.fail("test -e ~/owner")
          assert uuid() == identity
          assert machine.succeed("cat /home/alice/work") == "work\n"
          host_key(known_as)

      with subtest("the file system is looked at before it is mounted, and repaired"):
          assert "clean" in machine.succeed(f"journalctl --unit '{fsck}'")
          machine.succeed(
              "systemctl stop sshd metadata workspace-disk",
              "umount /home /var/lib/acme /var/lib/workspace-login /var/lib/workspace-ssh",
              f"systemctl stop persist.mount '{fsck}'",
              # As after a crash, and with a count that is wrong.
              f"debugfs -w -R 'set_inode_field home/alice/work links_count 7' {disk}",
              f"debugfs -w -R 'set_super_value state 0' {disk}",
          )
          machine.succeed("systemctl start workspace-disk")
          assert "FIXED" in machine.succeed(f"journalctl --unit '{fsck}'")
          assert machine.succeed("cat /home/alice/work") == "work\n"

      with subtest("a disk that holds something else is left alone"):
          machine.succeed(
              "umount /home /var/lib/acme /var/lib/workspace-login /var/lib/workspace-ssh /persist",
              f"wipefs --all {disk}", f"mkfs.vfat -I {disk}",
          )
          machine.fail("systemctl restart workspace-disk-format")
          assert "other than an ext4 file system" in machine.succeed("journalctl --unit workspace-disk-format")
          assert machine.succeed(f"blkid --output value --match-tag TYPE {disk}").strip() == "vfat"

      with subtest("and so is one with something that nobody knows"):
          machine.succeed(f"wipefs --all {disk}", f"echo treasure | dd of={disk} bs=1 seek=9000 conv=notrunc")
          machine.fail("systemctl restart workspace-disk-format")
          assert "not empty either" in machine.succeed("journalctl --unit workspace-disk-format")
    '';
}
