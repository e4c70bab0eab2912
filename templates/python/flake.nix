{
  description = "A Python project";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
      python = pkgs.python3;

      # What wheels from PyPI expect of every Linux, and the driver of a GPU.
      libraries = pkgs.lib.makeLibraryPath [
        pkgs.stdenv.cc.cc
        pkgs.zlib
        pkgs.glib
        pkgs.libGL
      ];

      # This project in JupyterLab's list of kernels.
      register-kernel = pkgs.writeShellApplication {
        name = "register-kernel";
        runtimeInputs = [ pkgs.uv ];
        text = ''
          name=''${1:-$(basename "$PWD")}
          exec uv run python -m ipykernel install --user --name "$name" --display-name "$name" \
            --env LD_LIBRARY_PATH "$LD_LIBRARY_PATH"
        '';
      };
    in
    {
      # `nix develop`, or direnv: packages come from PyPI, by pyproject.toml and `uv sync`.
      devShells.${system}.default = pkgs.mkShell {
        packages = [
          python
          pkgs.uv
          register-kernel
        ];
        UV_PYTHON = "${python}/bin/python3";
        UV_PYTHON_DOWNLOADS = "never";
        LD_LIBRARY_PATH = "${libraries}:/run/opengl-driver/lib";
      };

      # `nix build`: packages come from nixpkgs, such as `packages: [ packages.pandas ]`.
      packages.${system}.default = pkgs.writeShellApplication {
        name = "summary";
        runtimeInputs = [ (python.withPackages (_packages: [ ])) ];
        text = ''exec python3 ${./summary.py} "$@"'';
      };
    };
}
