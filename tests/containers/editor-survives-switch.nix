# A terminal that runs, and the websocket that shows it, live through switches to systems with
# another configuration of nginx, of the login and of the editor, and with another editor.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
in
{
  name = "editor-survives-switch";

  containers.workspace =
    {
      extendModules,
      lib,
      ...
    }:
    let
      system = changes: (extendModules { modules = lib.toList changes; }).config.system.build.toplevel;
      changed = {
        workspace.apps.other.port = 9999;
        workspace.ide.graceHours = 1;
        workspace.ide.settings."editor.tabSize" = 3;
        services.oauth2-proxy.cookie.expire = "24h";
      };
    in
    {
      imports = [
        (import ../common/private-workspace.nix { inherit modules; })
        (import ../common/public-workspace.nix { inherit modules; })
      ];
      system.switch.enable = true;
      system.build = {
        changed = system changed;
        otherEditor = system [
          changed
          { workspace.ide.editor = "code-server"; }
        ];
      };
    };

  testScript =
    { containers, ... }:
    let
      inherit (containers.workspace.system) build;
    in
    ''
      site = "https://${domain}"
      curl = "curl --silent --show-error --insecure --max-time 20"

      def process_of(unit):
          return workspace.succeed(f"systemctl show --property MainPID --value {unit}").strip()

      def answers(number):
          workspace.succeed(f"terminal type 'echo answer $(({number} + 1))'")
          workspace.wait_until_succeeds(f"grep 'answer {number + 1}' /tmp/terminal", timeout=30)

      workspace.wait_for_unit("openvscode-server.service")
      workspace.wait_for_unit("nginx.service")
      workspace.wait_for_unit("oauth2-proxy.service")
      cookie = workspace.wait_until_succeeds("sign-in", timeout=60).strip()
      curl += f" --cookie '{cookie}'"

      with subtest("a terminal runs a program"):
          workspace.succeed(f"terminal open wss://${domain}/edit/ '{cookie}'")
          workspace.wait_until_succeeds("test -s /tmp/terminal", timeout=60)
          workspace.succeed("terminal type 'sleep 86399 &'")
          workspace.wait_until_succeeds("pgrep --full --exact 'sleep 86399'", timeout=30)
          program = workspace.succeed("pgrep --full --exact 'sleep 86399'")
          answers(10)
          editor, nginx = process_of("openvscode-server"), process_of("nginx")

      def all_lives(number):
          assert process_of("nginx") == nginx
          assert process_of("openvscode-server") == editor
          assert workspace.succeed("pgrep --full --exact 'sleep 86399'") == program
          answers(number)

      with subtest("a switch that changes nginx, login and editor"):
          assert "--cookie-expire=24h" not in workspace.succeed("systemctl cat oauth2-proxy")
          status = workspace.succeed(f"{curl} --output /dev/null --write-out '%{{http_code}}' {site}/apps/other/")
          assert status == "404", status
          login = process_of("oauth2-proxy")
          workspace.succeed("${build.changed}/bin/switch-to-configuration test >&2")
          all_lives(20)

      with subtest("what was changed is in force"):
          workspace.wait_until_succeeds(f"test $({curl} --output /dev/null --write-out '%{{http_code}}' {site}/apps/other/) = 503", timeout=30)
          assert process_of("oauth2-proxy") != login
          assert "3600" in workspace.succeed("systemctl cat openvscode-server")

      with subtest("a switch to the other editor"):
          workspace.succeed("${build.otherEditor}/bin/switch-to-configuration test >&2")
          all_lives(30)
          workspace.wait_for_unit("code-server.service")
          workspace.wait_until_succeeds(f"{curl} --fail --location {site}/edit/ | grep _static/src/browser", timeout=30)

      with subtest("no unit failed"):
          assert workspace.succeed("systemctl --failed --no-legend") == ""
    '';
}
