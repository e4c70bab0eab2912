# A folder started from a template needs no more than `direnv allow`, and no network:
# entering it gives its tools, leaving it takes them away, and `nix build` makes its program.
{ modules }:
{ config, ... }:
let
  inherit (config.node) pkgs;
  inherit (pkgs.stdenv.hostPlatform) system;
  outputs =
    name:
    (import ../../templates/${name}/flake.nix).outputs {
      nixpkgs.legacyPackages.${system} = pkgs;
    };
in
{
  name = "direnv-enters-template";

  containers.workspace = { lib, ... }: {
    imports = [
      modules.tools
      ../common/writable-store.nix
    ];
    workspace = {
      name = "alice";
      owner = "alice@acme.example";
    };
    # There is a sandbox around the test already.
    nix.settings = {
      sandbox = false;
      # Nor a cache to wait for.
      substituters = lib.mkForce [ ];
    };
    # A stdenv that is not nixpkgs' own may build with the host's shell.
    systemd.tmpfiles.settings.shell."/bin/bash"."L+".argument = lib.getExe pkgs.bash;
    # What would be fetched from a cache, and no network is here for.
    system.extraDependencies = map (package: package.inputDerivation) (
      builtins.concatMap
        (name: [
          (outputs name).devShells.${system}.default
          (outputs name).packages.${system}.default
        ])
        [
          "cpp"
          "python"
        ]
    );
  };

  testScript = ''
    def alice(*commands):
        """What a terminal prints when these are typed into it, one after another."""
        workspace.succeed("cat > /tmp/typed <<'EOF'\n" + "\n".join(commands) + "\nEOF")
        return workspace.succeed("runuser --login alice --command 'bash --login -i' < /tmp/typed 2> /tmp/said || { cat /tmp/said >&2; false; }").strip()

    def start(template):
        alice(
            f"mkdir {template}",
            f"cd {template}",
            f"nix flake init --template templates#{template} || exit",
            # The lock names the machine's nixpkgs, unless the test was given another one.
            "nix flake lock --override-input nixpkgs nixpkgs || exit",
            "direnv allow",
        )

    workspace.wait_for_unit("multi-user.target")

    with subtest("a folder from a template has its tools inside, and only there"):
        start("cpp")
        assert alice("type -P gdb || echo none") == "none"
        inside = alice("cd cpp", "echo $CXX; type -P g++ gdb", "cd", "echo out: $CXX.")
        assert inside.startswith("g++\n/nix/store/") and inside.endswith("out: ."), inside

    with subtest("its program is built and runs"):
        assert alice("cd cpp", "nix build && result/bin/hello").startswith("Hello from C++")

    with subtest("a Python project has uv and its interpreter"):
        start("python")
        assert alice("cd python", "type -P uv register-kernel; echo $UV_PYTHON").count("/nix/store/") == 3

    with subtest("and its program runs"):
        assert "median 2.5" in alice("cd python", "nix build && echo 1 2 3 10 | result/bin/summary")
  '';
}
