{
  description = "A Python project that computes on GPUs";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
    let
      system = "x86_64-linux";
      # The one for every GPU, which the CUDA cache of the machines has.
      pkgs =
        (import nixpkgs {
          inherit system;
          config.allowUnfree = true;
        }).pkgsCuda;
      python = pkgs.python3;

      # What wheels from PyPI expect of every Linux. CUDA's own libraries come as wheels.
      libraries = pkgs.lib.makeLibraryPath [
        pkgs.stdenv.cc.cc
        pkgs.zlib
      ];
    in
    {
      # `nix develop`, or direnv: packages come from PyPI, by pyproject.toml and `uv sync`.
      devShells.${system}.default = pkgs.mkShell {
        packages = [
          python
          pkgs.uv
        ];
        UV_PYTHON = "${python}/bin/python3";
        UV_PYTHON_DOWNLOADS = "never";
        # The driver is the machine's.
        LD_LIBRARY_PATH = "${libraries}:/run/opengl-driver/lib";
      };

      # `nix build`: packages come from nixpkgs.
      packages.${system}.default = pkgs.writeShellApplication {
        name = "fit";
        runtimeInputs = [ (python.withPackages (packages: [ packages.torch ])) ];
        text = ''exec python3 ${./fit.py} "$@"'';
      };
    };
}
