# Extensions that every workspace starts with. They stay in the store; the owner's own are
# in the home, and win over one of these that the owner has brought up to date.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.workspace.ide;
  inherit (config.workspace) owner;

  seed = pkgs.writeShellApplication {
    name = "seed-extensions";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.jq
    ];
    text = builtins.readFile ./seed-extensions.sh;
  };
  # As the editor's own list of what it has, without the place relative to that list.
  entries = map (
    extension: removeAttrs (pkgs.vscode-utils.toExtensionJsonEntry extension) [ "relativeLocation" ]
  ) cfg.extensions;
in
{
  options.workspace.ide.extensions = lib.mkOption {
    type = lib.types.listOf lib.types.package;
    default = [ ];
    description = "Extensions of VS Code that the editor has from the start, as packages of nixpkgs. The owner can add others.";
    example = lib.literalExpression "[ pkgs.vscode-extensions.ms-python.python ]";
  };

  config.systemd.services.${cfg.editor} = lib.mkIf (cfg.enable && owner != null) {
    serviceConfig.ExecStartPre = [
      "${lib.getExe seed} ${
        config.services.${cfg.editor}.extensionsDir
      } ${pkgs.writeText "extensions.json" (builtins.toJSON entries)}"
    ];
  };
}
