{
  description = "Data-science workspaces on Google Compute Engine";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};

      hosts = import ./hosts {
        inherit nixpkgs;
        modules = self.nixosModules;
      };
      tests = import ./tests {
        inherit nixpkgs pkgs;
        modules = self.nixosModules;
      };

      systems = hosts.profiles // self.nixosConfigurations;
      prefixed = prefix: lib.mapAttrs' (name: lib.nameValuePair "${prefix}-${name}");
      xtask = pkgs.callPackage ./xtask/package.nix { };
    in
    {
      nixosModules = import ./modules;

      nixosConfigurations = hosts.workspaces;

      inherit ((import ./templates/flake.nix).outputs { }) templates;

      packages.${system} = {
        inherit xtask;
        default = xtask;
        docs = tests.docs;
      }
      // prefixed "image" (lib.mapAttrs (_name: host: host.config.system.build.image) systems);

      checks.${system} =
        prefixed "host" (lib.mapAttrs (_name: host: host.config.system.build.toplevel) systems)
        // prefixed "vm" (lib.mapAttrs (_name: host: host.config.system.build.vm) hosts.workspaces)
        // tests.checks
        // {
          rust = xtask.checked;
        };

      # Apart from the checks: they need KVM, or patience. `cargo xtask test` runs them in the lanes
      # vm and reboot.
      legacyPackages.${system} = {
        vmTests = tests.vm;
        rebootTests = tests.reboot;
        # In no lane: nix build .#legacyPackages.x86_64-linux.largeTests.NAME
        largeTests = tests.large;
      };

      devShells.${system}.default = pkgs.mkShell {
        inputsFrom = [ xtask ];
        packages = [
          pkgs.clippy
          pkgs.rustfmt
          pkgs.nixfmt
          pkgs.opentofu
        ];
      };

      formatter.${system} = pkgs.nixfmt-tree;
    };
}
