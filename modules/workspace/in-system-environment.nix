# A package's program of the given name, started with the variables that a login gets from the system
# (PATH, NIX_PATH, NIX_LD …) and without anything of the owner's own shell files, so that a
# mistake in those cannot keep the server from starting.
{ config, pkgs }:
name: package:
pkgs.writeShellScriptBin name ''
  . ${config.system.build.setEnvironment}
  exec ${package}/bin/${name} "$@"
''
