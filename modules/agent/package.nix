# The command `workspace`, of its own crate alone: a change elsewhere in the repository is no new
# system for the machines.
{
  lib,
  rustPlatform,
}:
let
  inherit (lib) fileset;
  crate = ../../crates/agent;
in
rustPlatform.buildRustPackage {
  pname = "workspace";
  version = (lib.importTOML (crate + "/Cargo.toml")).package.version;
  src = fileset.toSource {
    root = crate;
    fileset = fileset.unions [
      (crate + "/Cargo.toml")
      (crate + "/Cargo.lock")
      (crate + "/src")
    ];
  };
  cargoLock.lockFile = crate + "/Cargo.lock";
  # The tests run in the flake's check `rust`.
  doCheck = false;
  meta = {
    description = "Keeps a machine on the system that its fleet wants, and goes back by itself";
    license = lib.licenses.asl20;
    mainProgram = "workspace";
  };
}
