# Tenstorrent's accelerators, for machines of one's own: Compute Engine has none.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.workspace.tenstorrent;
in
{
  options.workspace.tenstorrent.hugepages = mkOption {
    type = types.ints.unsigned;
    default = 4;
    description = ''
      Huge pages of 1 GiB that are set aside at boot, in which the devices exchange data
      with the host: four for each Wormhole chip.
    '';
    example = 16;
  };

  config = {
    # Kernel module, udev rules, tt-smi.
    hardware.tenstorrent.enable = true;

    boot.kernelParams = [
      "hugepagesz=1G"
      "hugepages=${toString cfg.hugepages}"
      "iommu=pt"
    ];
    fileSystems."/dev/hugepages-1G" = {
      device = "hugetlbfs";
      fsType = "hugetlbfs";
      options = [
        "pagesize=1G"
        "mode=0777"
        "nofail"
      ];
    };
  };
}
