# A guest of Google Compute Engine and the image it boots from.
{
  imports = [
    ./guest.nix
    ./image.nix
    ./preemption.nix
  ];
}
