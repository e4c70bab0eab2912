# A private workspace has no login of its own, for Google decides who reaches it: it
# answers to the name at the owner's end of the tunnel, and to nobody else in the network.
{ modules }:
{
  name = "private-needs-no-login";

  containers.workspace =
    { pkgs, ... }:
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
      environment.systemPackages = [ pkgs.curl ];
    };

  containers.neighbour =
    { pkgs, ... }:
    {
      environment.systemPackages = [
        pkgs.curl
        pkgs.python3
      ];
      environment.etc."open-ports.py".source = ../common/open-ports.py;
    };

  testScript = ''
    start_all()
    workspace.wait_for_unit("openvscode-server.service")
    workspace.wait_for_unit("nginx.service")
    neighbour.wait_for_unit("multi-user.target")
    address = neighbour.succeed("getent ahostsv4 workspace | awk '{ print $1; exit }'").strip()

    with subtest("the tunnel's end reaches the editor"):
        # Identity-Aware Proxy's connections come to the machine's own address.
        for name in ["localhost:8888", "127.0.0.1:8888"]:
            page = workspace.succeed(f"curl --silent --show-error --fail --location --header 'Host: {name}' http://{address}/edit/")
            assert "vscode-workbench-web-configuration" in page, page[:2000]

    with subtest("a page of somebody else's whose name leads to the tunnel gets no answer"):
        workspace.fail(f"curl --silent --header 'Host: evil.example' http://{address}/edit/")

    with subtest("nobody in the network reaches it"):
        neighbour.fail(f"curl --silent --max-time 5 --header 'Host: localhost' http://{address}/edit/")
        assert neighbour.succeed(f"python3 /etc/open-ports.py {address}") == ""

    with subtest("but Identity-Aware Proxy does"):
        rules = workspace.succeed("iptables --list-rules nixos-fw")
        assert "-s 35.235.240.0/20 -p tcp -m tcp --dport 80 -j nixos-fw-accept" in rules, rules

    with subtest("there is no login and no certificate"):
        workspace.fail("systemctl cat oauth2-proxy.service")
        assert "acme" not in workspace.succeed("systemctl list-unit-files --no-legend")
  '';
}
