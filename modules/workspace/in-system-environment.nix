# A package's program, started with the variables that a login gets from the system
# (PATH, NIX_PATH, NIX_LD …) and without anything of the owner's own shell files, so that a
# mistake in those cannot keep the server from starting.
{ config, pkgs }:
package:
let
  name = package.meta.mainProgram;
in
pkgs.writeShellScriptBin name ''
  . ${config.system.build.setEnvironment}
  exec ${package}/bin/${name} "$@"
''
