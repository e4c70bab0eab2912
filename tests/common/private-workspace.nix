# A workspace without a login, whose editor's terminal tests can use on the machine itself:
# `terminal open [ADDRESS COOKIE]` as a page would, then `terminal type LINE`. What it prints is in
# /tmp/terminal.
{ modules }:
{ lib, pkgs, ... }:
{
  imports = [
    modules.gateway
    modules.ide
  ];
  workspace = {
    name = "alice";
    owner = "alice@acme.example";
    exposure = lib.mkDefault "private";
  };
  environment.systemPackages = [
    pkgs.curl
    (pkgs.writeShellApplication {
      name = "terminal";
      runtimeInputs = [
        pkgs.coreutils
        (pkgs.python3.withPackages (python: [ python.websockets ]))
      ];
      text = ''
        case $1 in
          open)
            [ -p /tmp/typed ] || mkfifo /tmp/typed
            systemd-run --quiet --collect --unit=terminal --property=StandardOutput=file:/tmp/terminal \
              "$(command -v python3)" ${./editor-terminal.py} "''${2-ws://localhost/edit/}" "''${3-none}" /tmp/typed
            ;;
          type)
            timeout 20 tee /tmp/typed > /dev/null <<< "$2"
            ;;
        esac
      '';
    })
  ];
}
