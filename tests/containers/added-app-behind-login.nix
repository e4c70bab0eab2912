# `workspace.apps.NAME` puts a server of this machine, at a port or a socket, behind the same
# login at /apps/NAME/: pages, big uploads and websockets, for the workspace's own pages alone.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
in
{
  name = "added-app-behind-login";

  containers.workspace =
    { pkgs, ... }:
    let
      echo = "${pkgs.python3.withPackages (python: [ python.aiohttp ])}/bin/python3 ${../common/echo.py}";
    in
    {
      imports = [
        modules.gateway
        ../common/password-login.nix
      ];
      environment.systemPackages = [ pkgs.curl ];
      workspace.apps = {
        tensorboard = {
          port = 6006;
          title = "TensorBoard <3";
        };
        notes.socket = "/run/notes/http.sock";
      };
      systemd.services = {
        tensorboard = {
          wantedBy = [ "multi-user.target" ];
          serviceConfig.ExecStart = "${echo} 6006";
        };
        notes = {
          wantedBy = [ "multi-user.target" ];
          serviceConfig = {
            User = "alice";
            Group = "nginx";
            RuntimeDirectory = "notes";
            UMask = "0007";
            ExecStart = "${echo} /run/notes/http.sock";
          };
        };
      };
    };

  containers.client =
    { containers, pkgs, ... }:
    {
      networking.hosts.${containers.workspace.networking.primaryIPAddress} = [ domain ];
      environment.systemPackages = [
        pkgs.curl
        (pkgs.python3.withPackages (python: [ python.websockets ]))
      ];
      environment.etc."echo-websocket.py".source = ../common/echo-websocket.py;
    };

  testScript = builtins.readFile ../common/browser.py + ''
    import json

    site = "https://${domain}"
    apps = ["/apps/tensorboard/", "/apps/notes/"]
    neighbours = ["https://bob.endpoints.acme-data-science.cloud.goog", f"{site}.evil.example", "http://${domain}", "null"]

    def websocket(path, origin=""):
        return client.execute(f"python3 /etc/echo-websocket.py 'wss://${domain}{path}live' /tmp/cookies {origin} 2>&1")

    start_all()
    browser = Browser(client, site)
    browser.wait_for_login()
    workspace.wait_for_unit("multi-user.target")
    workspace.wait_for_open_port(6006)
    workspace.wait_for_file("/run/notes/http.sock")

    with subtest("without a session there is the login, and no websocket"):
        client.succeed("touch /tmp/cookies")
        for app in apps:
            assert browser.status(f"{app}page?x=1") == f"302 {site}/oauth2/sign_in?rd={app}page?x=1"
            assert browser.status(app, "--request POST --data x=1").startswith("302 ")
            assert websocket(app)[0] != 0

    with subtest("no server is reached around the login"):
        address = client.succeed("getent hosts ${domain} | awk '{ print $1 }'").strip()
        workspace.succeed("curl --fail http://127.0.0.1:6006/")
        client.fail(f"curl --max-time 5 http://{address}:6006/")

    with subtest("with one there is the app, which sees its path"):
        assert browser.sign_in().startswith("302")
        for app in apps:
            seen = json.loads(browser.run(f"{app}a%20b/c?x=1&y=%2F"))
            assert (seen["method"], seen["path"]) == ("GET", f"{app}a%20b/c?x=1&y=%2F"), seen
            assert seen["headers"]["Host"] == "${domain}", seen

    with subtest("without the final slash, too"):
        assert browser.status("/apps/notes") == f"301 {site}/apps/notes/"

    with subtest("an upload of 50 MB goes through, and not by way of nginx's disk"):
        client.succeed("truncate --size=50M /tmp/big")
        for app in apps:
            seen = json.loads(browser.run(app, "--upload-file /tmp/big"))
            assert (seen["method"], seen["length"]) == ("PUT", 50 << 20), seen
        assert "buffered to a temporary file" not in workspace.succeed("journalctl --unit nginx")

    with subtest("so does a websocket"):
        for app in apps:
            for origin in ["", site]:
                status, output = websocket(app, origin)
                assert status == 0, output

    with subtest("no other page in the same browser may open one, or send a form"):
        for origin in neighbours:
            status, output = websocket(apps[0], origin)
            assert status != 0 and "HTTP 403" in output, (origin, output)
            for method in ["POST", "PUT", "PATCH", "DELETE"]:
                assert browser.status(apps[0], f"--request {method} --data x=1 --header 'Origin: {origin}'") == "403 ", (origin, method)
        assert browser.status(apps[0], f"--data x=1 --header 'Origin: {site}'") == "200 "
        assert browser.status(apps[0], f"--header 'Origin: {neighbours[0]}'") == "200 "

    with subtest("the workspace's page leads there"):
        page = browser.run("/")
        for link in ['href="/apps/tensorboard/"', "TensorBoard &lt;3", 'href="/apps/notes/"', ">notes<", "/oauth2/sign_out", "alice@acme.example"]:
            assert link in page, (link, page)

    with subtest("an app that does not run is told as such, and works when it does"):
        workspace.succeed("systemctl stop notes")
        assert browser.status("/apps/notes/") == "503 "
        assert "alice is not ready" in browser.page()
        workspace.succeed("systemctl start notes")
        workspace.wait_for_file("/run/notes/http.sock")
        assert browser.status("/apps/notes/") == "200 "

    with subtest("no unit failed"):
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
