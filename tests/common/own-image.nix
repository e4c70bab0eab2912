# A machine that boots an image of its own: nothing comes from outside it. Firmware, boot loader,
# kernel and store are its own. The script makes the disk: own-disk.py.
{ lib, ... }:
{
  virtualisation = {
    directBoot.enable = false;
    mountHostNixStore = false;
    useEFIBoot = true;
    # The module of the machine under test says where its file systems are.
    fileSystems = lib.mkForce {
      "/" = {
        device = "/dev/disk/by-label/nixos";
        fsType = "ext4";
        autoResize = true;
      };
      "/boot" = {
        device = "/dev/disk/by-label/ESP";
        fsType = "vfat";
      };
    };
  };
}
