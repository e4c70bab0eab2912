# The editor: openvscode-server or code-server as the owner, on a unix socket, under /edit/.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.ide;
  inherit (config.workspace) owner;
in
{
  imports = [
    ../workspace
    ./code-server.nix
    ./extensions.nix
    ./openvscode-server.nix
    ./settings.nix
  ];

  options.workspace.ide = {
    enable = mkOption {
      type = types.bool;
      default = true;
      description = "Whether to run the editor. It waits for {option}`workspace.owner`.";
      example = false;
    };

    editor = mkOption {
      type = types.enum [
        "openvscode-server"
        "code-server"
      ];
      default = "openvscode-server";
      description = ''
        Which VS Code for the browser to run. `openvscode-server` is the plain one, and
        keeps the owner's user settings in the browser. `code-server` follows VS Code's releases
        sooner, keeps them on the machine, and offers ports at `/edit/proxy/PORT/`.
      '';
      example = "code-server";
    };

    package = mkOption {
      type = types.package;
      default = pkgs.${cfg.editor};
      defaultText = lib.literalExpression "pkgs.\${config.workspace.ide.editor}";
      description = "The package of the editor.";
      example = lib.literalExpression "pkgs.code-server";
    };

    graceHours = mkOption {
      # Longer than node's timers can wait.
      type = types.ints.between 1 596;
      default = 336;
      description = "For how many hours the terminals of a page that lost its connection are kept.";
      example = 24;
    };
  };

  config = mkIf cfg.enable {
    # In the store, so that the first switch to somebody's workspace need not fetch it.
    system.extraDependencies = mkIf (owner == null) [ cfg.package ];

    workspace = mkIf (owner != null) {
      servers.${cfg.editor}.processes =
        "/bin/openvscode-server |/out/server-main[.]js|/out/node/entry|/bootstrap-fork --type=(ptyHost|fileWatcher|agentHost) ";
      routes."/edit/" = {
        title = "Editor";
        inherit (config.workspace.servers.${cfg.editor}) socket;
      };
    };
  };
}
