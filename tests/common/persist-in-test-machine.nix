# The machines of tests have a list of file systems of their own, which hides that of the
# module `home`. This is the same entry in theirs.
{
  virtualisation.fileSystems."/persist" = {
    device = "/dev/disk/by-id/virtio-home";
    fsType = "ext4";
    autoResize = true;
    options = [
      "nofail"
      "x-systemd.device-timeout=90s"
      "x-systemd.requires=workspace-disk-format.service"
    ];
  };
}
