# Nix code is formatted, and nothing in it is unused.
{ lib, pkgs }:
let
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.fileFilter (file: file.hasExt "nix") ../.;
  };
  check =
    name: package: command:
    pkgs.runCommand name { nativeBuildInputs = [ package ]; } ''
      find ${src} -name '*.nix' -print0 | xargs -0 ${command}
      touch $out
    '';
in
{
  nixfmt = check "nixfmt" pkgs.nixfmt "nixfmt --check";
  deadnix = check "deadnix" pkgs.deadnix "deadnix --fail";
}
