# xtask with the programs it runs, for those who have no cargo.
{
  lib,
  rustPlatform,
  clippy,
  curl,
  python3,
  rustfmt,
}:
let
  inherit (lib) fileset;
  package = rustPlatform.buildRustPackage {
    pname = "xtask";
    version = (lib.importTOML ../Cargo.toml).workspace.package.version;
    src = fileset.toSource {
      root = ../.;
      fileset = fileset.unions [
        ../Cargo.toml
        ../Cargo.lock
        ../crates
        ../docs/fleet.md
        ../fleet.toml
        ../hosts/machine-types.toml
        ../tests/fleet
        ../xtask
      ];
    };
    cargoLock.lockFile = ../Cargo.lock;
    cargoBuildFlags = [
      "--package=xtask"
      "--package=imagepack"
      "--package=google"
      "--package=cloudsim"
    ];
    # The tests run in the flake's check `rust`; who installs xtask need not wait for them.
    doCheck = false;
    passthru = { inherit checked; };
    meta = {
      description = "Builds, ships and tests a fleet of workspaces";
      license = lib.licenses.asl20;
      mainProgram = "xtask";
    };
  };

  # The same with formatting, lints and tests.
  checked = package.overrideAttrs (old: {
    doCheck = true;
    nativeCheckInputs = (old.nativeCheckInputs or [ ]) ++ [
      clippy
      curl
      python3
      rustfmt
    ];
    checkPhase = ''
      runHook preCheck
      cargo fmt --all --check
      cargo clippy --workspace --all-targets --offline -- --deny warnings
      cargo test --workspace --offline
      runHook postCheck
    '';
  });
in
package
