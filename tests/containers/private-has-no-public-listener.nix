# A private workspace has neither login nor certificate, for Google decides who reaches it: it
# answers Identity-Aware Proxy, by the name at the owner's end of the tunnel, and nobody else in
# the network.
{ modules }:
let
  tunnelAddress = "35.235.240.7";
in
{
  name = "private-has-no-public-listener";

  containers.workspace =
    { containers, pkgs, ... }:
    {
      imports = [
        modules.gateway
        modules.ide
        ../common/refusing-firewall.nix
      ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
        exposure = "private";
      };
      workspace.apps.echo.port = 9000;
      systemd.services.echo = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${
          pkgs.python3.withPackages (python: [ python.aiohttp ])
        }/bin/python3 ${../common/echo.py} 9000";
      };
      networking.interfaces.eth1.ipv4.routes = [
        {
          address = "35.235.240.0";
          prefixLength = 20;
          via = containers.tunnel.networking.primaryIPAddress;
        }
      ];
    };

  # Where Identity-Aware Proxy's connections come from.
  containers.tunnel =
    { pkgs, ... }:
    {
      networking.interfaces.eth1.ipv4.addresses = [
        {
          address = tunnelAddress;
          prefixLength = 32;
        }
      ];
      environment.systemPackages = [ pkgs.curl ];
    };

  containers.neighbour =
    { pkgs, ... }:
    {
      environment.systemPackages = [
        pkgs.curl
        pkgs.iputils
      ];
    };

  testScript = ''
    import json

    start_all()
    workspace.wait_for_unit("openvscode-server.service")
    workspace.wait_for_unit("nginx.service")
    workspace.wait_for_open_port(9000)
    neighbour.wait_for_unit("multi-user.target")
    tunnel.wait_for_unit("multi-user.target")
    address = neighbour.succeed("getent ahostsv4 workspace | awk '{ print $1; exit }'").strip()
    curl = f"curl --silent --show-error --max-time 20 --interface ${tunnelAddress} --connect-to ::{address}:80"

    def status(url, options=""):
        return tunnel.succeed(f"{curl} --output /dev/null --write-out '%{{http_code}} %{{redirect_url}}' {options} '{url}'")

    with subtest("the tunnel's end reaches the workspace's page and the editor"):
        tunnel.wait_until_succeeds(f"{curl} http://localhost:8888/", timeout=60)
        for name in ["localhost:8888", "127.0.0.1:8888"]:
            page = tunnel.succeed(f"{curl} --fail http://{name}/")
            assert 'href="/edit/"' in page and 'href="/apps/echo/"' in page and "sign_out" not in page, page
            page = tunnel.succeed(f"{curl} --fail http://{name}/edit/")
            assert "vscode-workbench-web-configuration" in page, page[:2000]

    with subtest("servers are told the name at the owner's end, and no forged one"):
        seen = json.loads(tunnel.succeed(f"{curl} --fail --header 'X-Forwarded-Host: evil.example' http://localhost:8888/apps/echo/"))
        assert seen["headers"]["Host"] == seen["headers"]["X-Forwarded-Host"] == "localhost:8888", seen

    with subtest("a page of somebody else's gets no answer, whatever its name leads to, and may send nothing"):
        tunnel.fail(f"{curl} http://evil.example:8888/edit/")
        tunnel.fail(f"{curl} --header 'Host: localhost.evil.example' http://localhost:8888/edit/")
        assert status("http://localhost:8888/apps/echo/", "--data x=1 --header 'Origin: http://localhost:8888'") == "200 "
        for origin in ["http://evil.example", "http://localhost.evil.example", "https://127.0.0.1.evil.example", "null"]:
            assert status("http://localhost:8888/apps/echo/", f"--data x=1 --header 'Origin: {origin}'") == "403 ", origin

    with subtest("nobody in the network reaches it"):
        neighbour.fail(f"curl --silent --max-time 5 --header 'Host: localhost' http://{address}/edit/")

    with subtest("not even by an address next to the tunnel's"):
        workspace.succeed("ip route add 35.232.0.0/13 via $(getent ahostsv4 neighbour | awk '{ print $1; exit }')")
        for other in ["35.235.239.255", "35.236.0.0"]:
            neighbour.succeed(f"ip address add {other}/32 dev eth1")
            neighbour.succeed(f"ping -c 1 -I {other} {address}")
            neighbour.fail(f"curl --silent --max-time 5 --interface {other} --header 'Host: localhost' http://{address}/edit/")

    with subtest("there is no login and no certificate"):
        workspace.fail("systemctl cat oauth2-proxy.service")
        assert "acme" not in workspace.succeed("systemctl list-unit-files --no-legend")
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
