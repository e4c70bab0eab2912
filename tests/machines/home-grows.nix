# The file system of the home takes the whole disk: at boot, and at once when the disk is
# made larger while the machine runs. What is on it stays.
{ modules }:
{ hostPkgs, ... }:
{
  name = "home-grows";

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
    networking.useDHCP = false;
    virtualisation.emptyDiskImages = [
      {
        size = 1024;
        driveConfig.deviceExtraOpts.serial = "home";
      }
    ];
  };

  testScript =
    { nodes, ... }:
    ''
      import pathlib
      import re
      import subprocess
      import tempfile

      # In place of the empty disk: one of 1 GiB whose file system was made when it had half.
      with tempfile.TemporaryDirectory() as folder:
          files = pathlib.Path(folder, "files", "home")
          files.mkdir(parents=True)
          (files / "work").write_text("work\n")
          raw = pathlib.Path(folder, "raw")
          with raw.open("wb") as image:
              image.truncate(1 << 30)
          uuid = "0b7c0e0e-6f43-4a7c-9d52-1d7a4f6a8f10"
          subprocess.run(["${hostPkgs.e2fsprogs}/bin/mkfs.ext4", "-q", "-U", uuid, "-d", str(files.parent), str(raw), "512M"], check=True)
          machine.state_dir.mkdir(exist_ok=True)
          subprocess.run(
              ["${nodes.machine.virtualisation.qemu.package}/bin/qemu-img", "convert", "-O", "qcow2", str(raw), str(machine.state_dir / "empty0.qcow2")],
              check=True,
          )

      machine.start()
      machine.wait_for_unit("multi-user.target", timeout=900)
      # On a slow machine the disk may come after the login is open.
      machine.wait_until_succeeds("mountpoint /home", timeout=300)

      with subtest("at boot"):
          machine.wait_until_succeeds("test $(df --block-size=1M --output=size /home | tail -1) -gt 900", timeout=120)
          assert machine.succeed("blkid --output value --match-tag UUID /dev/disk/by-id/virtio-home").strip() == uuid
          assert machine.succeed("cat /home/work") == "work\n"

      with subtest("while it runs"):
          drives = machine.send_monitor_command("info block")
          drive = re.search(r"^(\S+)(?: \(\S+\))?: \S*empty0.qcow2", drives, re.MULTILINE)
          assert drive, drives
          machine.send_monitor_command(f"block_resize {drive[1]} 2G")
          machine.wait_until_succeeds("test $(df --block-size=1M --output=size /home | tail -1) -gt 1900", timeout=120)
          assert machine.succeed("cat /home/work") == "work\n"
    '';
}
