# A workspace's disk is formatted once, when it is empty. What is on it is there after
# another boot, and it grows with the disk.
{ modules }:
{
  name = "home-is-kept";

  nodes.machine = {
    imports = [
      modules.home
      ../common/persist-in-test-machine.nix
    ];
    workspace = {
      name = "alice";
      owner = "alice@acme.example";
      home.device = "/dev/disk/by-id/virtio-home";
    };
    virtualisation = {
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
      import subprocess

      def boots():
          machine.start()
          machine.wait_for_unit("multi-user.target", timeout=900)
          machine.succeed("mountpoint /persist", "mountpoint /home")

      def size_mib():
          return int(machine.succeed("df --block-size=1M --output=size /home | tail -1"))

      with subtest("an empty disk is formatted"):
          boots()
          identity = machine.succeed("blkid --output value --match-tag UUID /dev/disk/by-id/virtio-home")
          assert size_mib() < 512

      with subtest("the home is on it, and its owner's"):
          assert machine.succeed("stat --format=%U:%a /home/alice").strip() == "alice:700"
          machine.succeed("runuser -u alice -- sh -c 'echo work > /home/alice/work'")
          machine.shutdown()

      with subtest("another boot formats nothing, and a grown disk is used"):
          disk = machine.state_dir / "empty0.qcow2"
          subprocess.run(["${nodes.machine.virtualisation.qemu.package}/bin/qemu-img", "resize", "-q", str(disk), "2G"], check=True)
          boots()
          assert machine.succeed("blkid --output value --match-tag UUID /dev/disk/by-id/virtio-home") == identity
          assert machine.succeed("cat /home/alice/work") == "work\n"
          assert size_mib() > 1500, size_mib()

      with subtest("a disk that holds something else is left alone"):
          machine.succeed("umount /home /var/lib/acme /var/lib/workspace-login /persist")
          machine.succeed("wipefs --all /dev/disk/by-id/virtio-home", "mkfs.vfat -I /dev/disk/by-id/virtio-home")
          machine.fail("systemctl restart workspace-disk-format")
          assert "other than an ext4 file system" in machine.succeed("journalctl --unit workspace-disk-format")
          assert machine.succeed("blkid --output value --match-tag TYPE /dev/disk/by-id/virtio-home").strip() == "vfat"

      with subtest("and so is one with something that nobody knows"):
          machine.succeed("wipefs --all /dev/disk/by-id/virtio-home", "echo treasure | dd of=/dev/disk/by-id/virtio-home bs=1 seek=9000 conv=notrunc")
          machine.fail("systemctl restart workspace-disk-format")
          assert "not empty either" in machine.succeed("journalctl --unit workspace-disk-format")
    '';
}
