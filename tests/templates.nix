# Each template has a shell and a program, and both build with the nixpkgs of the machines,
# which is the one that its lock names. Those of CUDA evaluate.
{
  lib,
  nixpkgs,
  pkgs,
}:
let
  inherit (pkgs.stdenv.hostPlatform) system;
  outputs = name: (import ../templates/${name}/flake.nix).outputs { nixpkgs = withoutSources; };
  withoutSources = nixpkgs // {
    legacyPackages.${system} = pkgs // {
      # Its wrapper brings the compiler's whole source, which the check does not look at.
      rust-analyzer = pkgs.rust-analyzer-unwrapped;
    };
  };
  lock = folder: lib.importJSON (folder + "/flake.lock");
  check =
    name: _template:
    lib.throwIf (lock ../templates/${name} != lock ../.)
      "templates/${name}/flake.lock is not that of the machines: cp flake.lock templates/${name}/"
      (
        (if lib.hasPrefix "cuda-" name then evaluated else pkgs.linkFarm) "template-${name}" {
          program = (outputs name).packages.${system}.default;
          shell = (outputs name).devShells.${system}.default;
        }
      );
  # CUDA and PyTorch are gigabytes from a cache that a check may not have, and hours without.
  evaluated =
    name: derivations:
    pkgs.writeText name (
      lib.concatMapStrings (derivation: builtins.unsafeDiscardStringContext "${derivation.drvPath}\n") (
        builtins.attrValues derivations
      )
    );
  # Not every copy of nixpkgs has the list that R's packages come from.
  cran = pkgs.path + "/pkgs/development/r-modules/cran-packages.json";
  buildable =
    if builtins.pathExists cran then
      templates
    else
      lib.warn "template-r is left out: this nixpkgs has no list of CRAN's packages" (
        removeAttrs templates [ "r" ]
      );
  inherit ((import ../templates/flake.nix).outputs { }) templates;
in
lib.mapAttrs' (name: template: lib.nameValuePair "template-${name}" (check name template)) buildable
