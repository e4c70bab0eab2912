# Without a network `nixpkgs` on the command line and <nixpkgs> are the one that the system
# was made of, and a program of it that the machine has runs.
{ modules }:
{
  name = "nixpkgs-registry-is-offline";

  containers.workspace =
    { config, ... }:
    {
      imports = [
        modules.tools
        ../common/writable-store.nix
      ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
      };
      system.extraDependencies = [ config.programs.direnv.package ];
    };

  testScript =
    { containers, ... }:
    let
      inherit (containers.workspace) nixpkgs programs;
    in
    ''
      def alice(command):
          return workspace.succeed(f"runuser --login alice --command '{command}'").strip()

      workspace.wait_for_unit("multi-user.target")

      with subtest("there is no network"):
          workspace.fail("getent hosts channels.nixos.org", "getent hosts cache.nixos.org")

      with subtest("nixpkgs is a flake in the store"):
          assert alice("nix flake metadata --json nixpkgs | jq --raw-output .path") == "${nixpkgs.flake.source}"

      with subtest("and <nixpkgs> the same one"):
          assert alice("nix-instantiate --find-file nixpkgs") == "${nixpkgs.flake.source}"

      with subtest("its packages are those of the system"):
          assert alice("nix eval --raw nixpkgs#direnv.outPath") == "${programs.direnv.package}"

      with subtest("one that the machine has runs"):
          assert alice("nix shell nixpkgs#direnv --command which direnv") == "${programs.direnv.package}/bin/direnv"
    '';
}
