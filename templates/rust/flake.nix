{
  description = "A Rust project";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};

      # `nix build`
      summary = pkgs.rustPlatform.buildRustPackage {
        pname = "summary";
        version = "0.1.0";
        src = ./.;
        cargoLock.lockFile = ./Cargo.lock;
      };
    in
    {
      packages.${system}.default = summary;

      # `nix develop`, or direnv
      devShells.${system}.default = pkgs.mkShell {
        inputsFrom = [ summary ];
        packages = [
          pkgs.clippy
          pkgs.rust-analyzer
          pkgs.rustfmt
        ];
      };
    };
}
