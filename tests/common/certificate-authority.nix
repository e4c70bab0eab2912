# A certificate authority: pebble, with nixpkgs' own test certificates. Its root is at
# https://acme.test:15000/roots/0.
{
  containers,
  lib,
  modulesPath,
  ...
}:
{
  imports = [ "${modulesPath}/../tests/common/acme/server" ];
  # Whose certificates to resolve: these machines', not those of qemu.
  _module.args.nodes = lib.mkForce containers;
}
