# The command `workspace`, alone: of the repository's crates a machine needs this one.
{
  lib,
  rustPlatform,
}:
let
  inherit (lib) fileset;
  # Cargo wants to see the other members of the workspace, and no more of them than this: a change
  # to the rest of them is no new system.
  outline = fileset.fileFilter (
    file:
    builtins.elem file.name [
      "Cargo.toml"
      "lib.rs"
      "main.rs"
    ]
  );
in
rustPlatform.buildRustPackage {
  pname = "workspace";
  version = (lib.importTOML ../../Cargo.toml).workspace.package.version;
  src = fileset.toSource {
    root = ../..;
    fileset = fileset.unions [
      ../../Cargo.toml
      ../../Cargo.lock
      (outline ../../xtask)
      (outline ../../crates)
      ../../crates/agent/src
      ../../crates/google/benches
      ../../crates/imagepack/benches
    ];
  };
  cargoLock.lockFile = ../../Cargo.lock;
  cargoBuildFlags = [ "--package=agent" ];
  # The tests run in the flake's check `rust`.
  doCheck = false;
  meta = {
    description = "Keeps a machine on the system that its fleet wants, and goes back by itself";
    license = lib.licenses.asl20;
    mainProgram = "workspace";
  };
}
