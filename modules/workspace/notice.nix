# News for the owner, from whatever part of the machine has some: on the gateway's pages, and
# if it is bad in terminals.
{
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  text = "/run/workspace/notice.txt";
in
{
  options.workspace = {
    notice = mkOption {
      type = types.path;
      default = "/run/workspace/notice.html";
      readOnly = true;
      description = ''
        Fragment of HTML that the gateway shows on its pages, the login's too, and in place of a server
        that does not answer. {option}`workspace.noticeCommand` writes it.
      '';
    };

    noticeCommand = mkOption {
      type = types.package;
      default = pkgs.writeShellApplication {
        name = "workspace-notice";
        runtimeInputs = [
          pkgs.coreutils
          pkgs.gnused
          pkgs.util-linux
        ];
        text = builtins.readFile ./notice.sh;
      };
      defaultText = lib.literalMD "the command `workspace-notice`";
      readOnly = true;
      description = ''
        Command with which whatever has bad news for the owner shows it, as root:
        `workspace-notice NAME HEADLINE SENTENCES [SENTENCES-IN-TERMINALS-ONLY]`.
        `workspace-notice --good NAME HEADLINE SENTENCES` shows good news, on the pages alone.
        `workspace-notice NAME` takes either back. Notices of other names stay.
      '';
    };
  };

  # Each new terminal, the editor's too. Programs read the standard output of some shells.
  config.environment.interactiveShellInit = ''
    [ ! -s ${text} ] || cat ${text} >&2
  '';
}
