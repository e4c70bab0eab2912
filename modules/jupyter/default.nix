# JupyterLab beside the editor: as the owner, on a unix socket, at /apps/jupyter/.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.jupyter;
  inherit (config.workspace)
    domain
    exposure
    owner
    servers
    ;
  inSystemEnvironment = import ../workspace/in-system-environment.nix { inherit config pkgs; };
  lab = inSystemEnvironment "jupyter-lab" cfg.package;

  # The kernel of whatever project a notebook lies in.
  project = pkgs.writeShellApplication {
    name = "project-kernel";
    runtimeInputs = [ pkgs.coreutils ];
    text = builtins.readFile ./project-kernel.sh;
  };
  kernels = pkgs.writeTextDir "kernels/project/kernel.json" (
    builtins.toJSON {
      display_name = "Python of this folder's project";
      language = "python";
      argv = [
        (lib.getExe project)
        "{connection_file}"
      ];
      metadata.debugger = true;
    }
  );

  # On the command line, for that wins over files of the owner's in ~/.jupyter, which count
  # for all else. The gateway asks for the login and keeps foreign pages out.
  settings = {
    "IdentityProvider.token" = "";
    "ServerApp.allow_remote_access" = true;
    "ServerApp.base_url" = "/apps/jupyter/";
    "ServerApp.open_browser" = false;
    "ServerApp.quit_button" = false;
    "ServerApp.sock" = servers.jupyterlab.socket;
    "ServerApp.sock_mode" = "0660";
    "ServerApp.trust_xheaders" = true;
    "LabApp.check_for_updates_class" = "jupyterlab.NeverCheckForUpdate";
    "LabApp.news_url" = "None";
  }
  // (
    if exposure == "public" then
      { "ServerApp.allow_origin" = "https://${toString domain}"; }
    else
      # The port is that of the owner's end of the tunnel.
      { "ServerApp.allow_origin_pat" = "^http://(localhost|127\\.0\\.0\\.1)(:[0-9]+)?$"; }
  );
  # As the traits' parser reads values.
  text =
    value:
    if value == true then
      "True"
    else if value == false then
      "False"
    else
      value;
in
{
  imports = [ ../workspace ];

  options.workspace.jupyter = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = "Whether to run JupyterLab at `/apps/jupyter/`. It waits for {option}`workspace.owner`.";
      example = true;
    };

    package = mkOption {
      type = types.package;
      default = pkgs.python3.withPackages (python: [ python.jupyterlab ]);
      defaultText = lib.literalExpression "pkgs.python3.withPackages (python: [ python.jupyterlab ])";
      description = "Python with JupyterLab, its extensions, and what the kernel of its own has.";
      example = lib.literalExpression "pkgs.python3.withPackages (python: [ python.jupyterlab python.jupyterlab-git python.pandas ])";
    };
  };

  config = mkIf (cfg.enable && owner != null) {
    workspace.apps.jupyter = {
      title = "JupyterLab";
      inherit (servers.jupyterlab) socket;
    };
    workspace.servers.jupyterlab.processes = "/jupyter-lab ";

    # Not nixpkgs' module, which knows ports only, and puts a password's hash into the store.
    systemd.services.jupyterlab = {
      description = "JupyterLab";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      environment.JUPYTER_PATH = toString kernels;
      serviceConfig.ExecStart = lib.escapeShellArgs (
        [ (lib.getExe lab) ] ++ lib.mapAttrsToList (name: value: "--${name}=${text value}") settings
      );
    };
  };
}
