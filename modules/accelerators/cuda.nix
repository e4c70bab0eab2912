# NVIDIA GPUs: the driver, and its devices in containers.
{ lib, ... }:
{
  config = {
    # The driver's kernel modules are open from Turing (T4) on, which is the oldest GPU a fleet can have.
    hardware.nvidia.open = lib.mkDefault true;
    hardware.graphics.enable = true;
    # Chooses the driver; no X server runs.
    services.xserver.videoDrivers = [ "nvidia" ];
    hardware.nvidia.nvidiaPersistenced = lib.mkDefault true;
    hardware.nvidia-container-toolkit.enable = true;

    nixpkgs.config.allowUnfreePredicate =
      package:
      builtins.elem (lib.getName package) [
        "nvidia-x11"
        "nvidia-settings"
        "nvidia-persistenced"
      ];
  };
}
