{
  description = "A C++ project";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};

      # `nix build`
      hello = pkgs.stdenv.mkDerivation {
        pname = "hello";
        version = "0.1.0";
        src = ./.;
        # Libraries, such as pkgs.eigen.
        buildInputs = [ ];
        makeFlags = [ "PREFIX=$(out)" ];
      };
    in
    {
      packages.${system}.default = hello;

      # `nix develop`, or direnv: the compiler and the libraries of the program, and more.
      devShells.${system}.default = pkgs.mkShell {
        inputsFrom = [ hello ];
        packages = [ pkgs.gdb ];
      };
    };
}
