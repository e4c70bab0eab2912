# What wheels from PyPI may expect of every Linux is among nix-ld's libraries: each library
# of the policies manylinux2014 and manylinux_2_28 but glibc's own, which are beside the
# loader. https://github.com/pypa/auditwheel/blob/main/src/auditwheel/policy/manylinux-policy.json
{
  lib,
  modules,
  pkgs,
}:
let
  config = import ./common/configuration.nix { inherit pkgs; } [ modules.tools ];
  libraries = map (package: lib.getLib package) config.programs.nix-ld.libraries;
  providers = {
    "libgcc_s.so.1" = pkgs.stdenv.cc.cc;
    "libstdc++.so.6" = pkgs.stdenv.cc.cc;
    "libX11.so.6" = pkgs.libx11;
    "libXext.so.6" = pkgs.libxext;
    "libXrender.so.1" = pkgs.libxrender;
    "libICE.so.6" = pkgs.libice;
    "libSM.so.6" = pkgs.libsm;
    "libGL.so.1" = pkgs.libGL;
    "libglib-2.0.so.0" = pkgs.glib;
    "libexpat.so.1" = pkgs.expat;
    "libz.so.1" = pkgs.zlib;
  };
  missing = lib.filterAttrs (_file: package: !lib.elem (lib.getLib package) libraries) providers;
in
pkgs.writeText "manylinux" (
  lib.throwIf (missing != { })
    "wheels from PyPI will not find ${toString (lib.attrNames missing)}; add to programs.nix-ld.libraries: ${
      toString (lib.mapAttrsToList (_: lib.getName) missing)
    }"
    (toString (lib.attrNames providers))
)
