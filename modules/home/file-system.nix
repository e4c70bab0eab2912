# The mount of the disk that outlives the machine. A function, as the virtual machines of
# tests and of laptops have a list of file systems of their own, which hides this module's.
device: {
  inherit device;
  fsType = "ext4";
  autoResize = true;
  # A machine without its disk must still come up and say so.
  options = [
    "nofail"
    "x-systemd.device-timeout=90s"
    "x-systemd.requires=workspace-disk-format.service"
  ];
}
