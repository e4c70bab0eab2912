# GPUs in containers: `docker run --device nvidia.com/gpu=all`. NVIDIA's container toolkit says
# what a container is given of them, in a CDI specification made at boot.
{ lib, ... }:
{
  hardware.nvidia-container-toolkit.enable = true;

  # Required by docker, as nixpkgs has it, docker would be stopped when it is made anew: by an
  # update, or by hand. And a GPU that does not answer would take docker along.
  systemd.services.nvidia-container-toolkit-cdi-generator.requiredBy = lib.mkForce [ ];
}
