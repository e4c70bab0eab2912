# What `nixosModules` of the flake offers. Importing a module adopts it; each
# brings along the vocabulary it needs (`workspace`) and nothing else.
{
  workspace = ./workspace;
  gce = ./gce;
  gateway = ./gateway;
  ide = ./ide;
  jupyter = ./jupyter;
  home = ./home;
  ssh = ./ssh;
  storage = ./storage;
  own = ./own;
  vm = ./vm;
  agent = ./agent;
  cuda = ./accelerators/cuda;
  tenstorrent = ./accelerators/tenstorrent.nix;
  tools = ./tools;
  scale-out = ./scale-out;
  hardening = ./hardening;
  containers = ./containers;
  monitoring = ./monitoring;
}
