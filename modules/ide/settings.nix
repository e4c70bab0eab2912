# Defaults for VS Code's settings, as an extension contributes them: below whatever the
# owner sets, wherever the editor keeps that, and in no file of the owner's.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.workspace.ide;
  format = pkgs.formats.json { };

  publisher = "workspace";
  name = "defaults";
  id = "${publisher}.${name}";
  # Of the content, for a page keeps what it has read of a version.
  version = "1.0.${
    toString (
      lib.fromHexString (lib.substring 0 7 (builtins.hashString "sha256" (builtins.toJSON cfg.settings)))
    )
  }";
  manifest = format.generate "package.json" {
    inherit publisher name version;
    displayName = "Defaults of this workspace";
    description = "Settings that whoever looks after this workspace has chosen. Your own win.";
    engines.vscode = "*";
    contributes.configurationDefaults = cfg.settings;
  };
  extension =
    pkgs.runCommand "vscode-extension-${id}"
      {
        passthru = {
          inherit version;
          vscodeExtPublisher = publisher;
          vscodeExtName = name;
          vscodeExtUniqueId = id;
        };
      }
      ''
        mkdir --parents $out/share/vscode/extensions/${id}
        ln --symbolic ${manifest} $out/share/vscode/extensions/${id}/package.json
      '';
in
{
  options.workspace.ide.settings = lib.mkOption {
    inherit (format) type;
    default = { };
    description = ''
      Defaults for the editor's settings; the owner's own win. VS Code takes defaults for
      settings of the scopes window, resource, language and machine-overridable, which are
      most, and ignores those for others, such as `telemetry.telemetryLevel`. The welcome
      page, tips, recommendations of extensions and the chat pane are off unless set here; a
      browser's very first visit may still show the welcome page, before it knows of defaults.
    '';
    example = {
      "editor.formatOnSave" = true;
      "[python]"."editor.tabSize" = 4;
    };
  };

  config.workspace.ide = {
    settings = lib.mapAttrs (_: lib.mkDefault) {
      # A pane that takes the keyboard and leads to a sign-in elsewhere.
      "chat.disableAIFeatures" = true;
      "extensions.ignoreRecommendations" = true;
      "workbench.startupEditor" = "none";
      "workbench.tips.enabled" = false;
    };
    extensions = [ extension ];
  };
}
