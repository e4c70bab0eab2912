{
  description = "A CUDA C++ project";

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
      inherit (pkgs) cudaPackages;

      # `nix build`
      saxpy = cudaPackages.backendStdenv.mkDerivation {
        pname = "saxpy";
        version = "0.1.0";
        src = ./.;
        nativeBuildInputs = [
          pkgs.cmake
          pkgs.ninja
          cudaPackages.cuda_nvcc
          pkgs.autoAddDriverRunpath
        ];
        # Libraries, such as cudaPackages.libcublas.
        buildInputs = [
          cudaPackages.cuda_cccl
          cudaPackages.cuda_cudart
        ];
        # Without a GPU, as where Nix builds, the test that needs one is skipped.
        doCheck = true;
      };
    in
    {
      packages.${system}.default = saxpy;

      # `nix develop`, or direnv: `cmake -B build -G Ninja && cmake --build build && ctest --test-dir build`
      devShells.${system}.default = pkgs.mkShell.override { stdenv = cudaPackages.backendStdenv; } {
        inputsFrom = [ saxpy ];
        packages = [ cudaPackages.cuda_gdb ];
        # The driver is the machine's.
        LD_LIBRARY_PATH = "/run/opengl-driver/lib";
      };
    };
}
