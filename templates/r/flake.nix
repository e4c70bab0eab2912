{
  description = "An R project";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
      # Packages of CRAN, as nixpkgs has them.
      R = pkgs.rWrapper.override {
        packages = [
          pkgs.rPackages.IRkernel
          pkgs.rPackages.languageserver
          pkgs.rPackages.tidyverse
        ];
      };

      # This project in JupyterLab's list of kernels.
      register-kernel = pkgs.writeShellApplication {
        name = "register-kernel";
        runtimeInputs = [
          R
          pkgs.jupyter
        ];
        text = ''
          name=''${1:-$(basename "$PWD")}
          exec Rscript -e "IRkernel::installspec(name = '$name', displayname = '$name')"
        '';
      };
    in
    {
      # `nix develop`, or direnv
      devShells.${system}.default = pkgs.mkShell {
        packages = [
          R
          register-kernel
        ];
      };

      # `nix build`
      packages.${system}.default = pkgs.writeShellApplication {
        name = "summary";
        runtimeInputs = [ R ];
        text = ''exec Rscript ${./summary.R} "$@"'';
      };
    };
}
