# SkyPilot takes its settings, and the tasks of docs/scale-out.md. Where nixpkgs' SkyPilot cannot
# run there is nobody to ask, and this says so.
{
  lib,
  modules,
  pkgs,
}:
let
  config = import ./common/configuration.nix { inherit pkgs; } [
    modules.scale-out
    { workspace.scaleOut.project = "acme-jobs"; }
  ];
in
pkgs.runCommand "scale-out-settings" { } ''
  export HOME=$PWD SKYPILOT_DISABLE_USAGE_COLLECTION=1
  export SKYPILOT_GLOBAL_CONFIG=${config.environment.etc."skypilot/config.yaml".source}
  status=0
  ${lib.getExe config.workspace.scaleOut.python} ${./common/skypilot.py} acme-jobs ${../docs/scale-out.md} || status=$?
  if [ $status = 127 ]; then
    echo "NOT SHOWN: SkyPilot is not available here" >&2
  elif [ $status != 0 ]; then
    exit $status
  fi
  touch $out
''
