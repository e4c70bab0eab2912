# The machines of tests have a list of file systems of their own, which hides that of the
# module `home`. This is the same entry in theirs.
{
  virtualisation.fileSystems."/persist" =
    import ../../modules/home/file-system.nix "/dev/disk/by-id/virtio-home";
}
