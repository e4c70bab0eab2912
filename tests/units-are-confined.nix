# `systemd-analyze security` gives every unit of ours 3.0 ("OK") or better, but for those
# that need what it counts against them, each with its reason.
{
  lib,
  modules,
  nixpkgs,
  pkgs,
}:
let
  limit = "30"; # tenths
  exceptions = {
    jupyterlab = "the owner's shell: all that the owner may do, and sudo";
    openvscode-server = "the owner's shell: all that the owner may do, and sudo";
    nginx-config-reload = "asks systemd to reload nginx, and ends";
    workspace-agent = "has Nix fetch, the boot menu written and systemd switch systems";
    workspace-bucket-acme-datasets = "mounts for all to see";
    workspace-disk = "mounts for all to see";
    workspace-disk-format = "makes a file system before anything is mounted";
    workspace-disk-missing = "takes /home from everybody before anything else is up";
    workspace-login-restart = "asks systemd for a restart, and ends";
    workspace-own = "builds systems and switches to them, as root";
    workspace-profile-keep = "copies between the machine's Nix store and another one as root";
    workspace-profile-restore = "as that, and runs Nix as the owner";
    workspace-restart-when-idle = "looks into the owner's processes, and asks systemd for restarts";
  };

  ours =
    name:
    lib.hasPrefix "workspace-" name
    || lib.hasPrefix "acme-" name
    || lib.elem name [
      "code-server"
      "jupyterlab"
      "nginx"
      "nginx-config-reload"
      "oauth2-proxy"
      "opentelemetry-collector"
      "openvscode-server"
    ];

  system =
    (import ../hosts {
      inherit modules nixpkgs;
      file = ./fleet/valid/smallest.toml;
    }).workspaces;
  inherit
    ((lib.head (lib.attrValues system)).extendModules {
      modules = [
        {
          workspace.jupyter.enable = true;
          workspace.monitoring.enable = true;
          workspace.gce.spot = lib.mkForce true;
          workspace.buckets.acme-datasets = { };
          services.opentelemetry-collector.validateConfigFile = false;
        }
      ];
    })
    config
    ;
  services = lib.filterAttrs (name: _: ours name) config.systemd.services;
in
pkgs.runCommand "units-are-confined"
  {
    nativeBuildInputs = [ config.systemd.package ];
    units = lib.mapAttrsToList (
      name: _: "${config.systemd.units."${name}.service".unit}/${name}.service"
    ) services;
    exceptions = lib.attrNames exceptions;
  }
  ''
    wrong=0
    for unit in $units; do
      name=$(basename $unit .service)
      if said=$(systemd-analyze security --offline=yes --threshold=${limit} --no-pager $unit 2>&1); then
        exposed=
      else
        exposed=yes
      fi
      echo "$(tail --lines=1 <<< "$said" | sed "s/.*→ //")"
      if [[ " $exceptions " == *" $name "* ]]; then
        [ "$exposed" ] || { echo "$name: is no exception any more, strike it from tests/units-are-confined.nix"; wrong=1; }
      elif [ "$exposed" ]; then
        echo "$name: confine it as modules/workspace/sandbox.nix does, or give the reason in tests/units-are-confined.nix"
        wrong=1
      fi
    done
    [ $wrong = 0 ]
    touch $out
  ''
