# A workspace's system with its owner's module added, on the machine: from the sources that
# travel along with the system (layer.nix).
{
  name,
  nixpkgs,
  info,
  fleet,
  # The module, a path; none gives the very system that was deployed.
  module ? null,
  # The store path of the system that was deployed.
  deployed ? null,
  ...
}:
let
  # Read from a file it is text, and nothing made with it would need what is there.
  outPath = builtins.appendContext nixpkgs { ${nixpkgs}.path = true; };
  self = info // {
    inherit outPath;
  };
  flake = (import "${outPath}/flake.nix").outputs { inherit self; };

  hosts = import ./. {
    nixpkgs = flake // self;
    modules = import ../modules;
    inherit fleet;
  };
  system = hosts.workspaces.${name};
  layered = system.extendModules {
    modules = [
      module
      # How others tell what this is layered on. Not to be kept from the garbage collector.
      {
        system.systemBuilderCommands = "ln -s ${builtins.unsafeDiscardStringContext deployed} $out/deployed";
      }
    ];
  };
in
(if module == null then system else layered).config.system.build.toplevel
