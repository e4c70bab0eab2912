# With `metadataForRootOnly` the token of the machine's service account is out of reach for
# what the owner runs and for containers, while root, the login and all names stay served.
{ modules }:
let
  address = "169.254.169.254";
in
{
  name = "metadata-is-for-root";

  # The metadata server, and beside it what else answers at its address.
  containers.google =
    { lib, pkgs, ... }:
    {
      networking.interfaces.eth1.ipv4.addresses = lib.mkAfter [
        {
          inherit address;
          prefixLength = 32;
        }
      ];
      networking.firewall.allowedTCPPorts = [
        53
        80
      ];
      systemd.services = lib.genAttrs [ "53" "80" ] (port: {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.DynamicUser = true;
        serviceConfig.AmbientCapabilities = [ "CAP_NET_BIND_SERVICE" ];
        serviceConfig.ExecStart = "${pkgs.python3}/bin/python3 -m http.server --directory /var/empty ${port}";
      });
    };

  containers.workspace =
    { pkgs, ... }:
    {
      imports = [ modules.hardening ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
        hardening = {
          metadataForRootOnly = true;
          metadataAccounts = [ "login" ];
        };
      };
      users.users.login = {
        isSystemUser = true;
        group = "nogroup";
      };
      networking.interfaces.eth1.ipv4.routes = [
        {
          inherit address;
          prefixLength = 32;
        }
      ];
      environment.systemPackages = [ pkgs.curl ];
    };

  testScript = ''
    curl = "curl --silent --show-error --fail --max-time 5 --output /dev/null"
    metadata = f"{curl} http://${address}/"

    start_all()
    google.wait_for_open_port(53)
    google.wait_for_open_port(80)
    workspace.wait_for_unit("multi-user.target")

    with subtest("root reaches it, and an account that may"):
        workspace.wait_until_succeeds(metadata, timeout=30)
        workspace.succeed(f"runuser -u login -- {metadata}")

    with subtest("the owner is refused at once"):
        refusal = workspace.fail(f"runuser -u alice -- {metadata} 2>&1")
        assert "Could not connect" in refusal or "Failed to connect" in refusal, refusal

    with subtest("other ports of the same address answer the owner"):
        workspace.succeed(f"runuser -u alice -- {curl} http://${address}:53/")

    with subtest("a container's packets reach other ports only, whatever is forwarded otherwise"):
        workspace.succeed(
            "ip netns add box",
            "ip link add box0 type veth peer name eth0 netns box",
            "ip addr add 10.9.0.1/24 dev box0",
            "ip link set box0 up",
            "ip -n box addr add 10.9.0.2/24 dev eth0",
            "ip -n box link set eth0 up",
            "ip -n box route add default via 10.9.0.1",
            "sysctl net.ipv4.ip_forward=1",
            "iptables -t nat -A POSTROUTING -s 10.9.0.0/24 -o eth1 -j MASQUERADE",
            "iptables -I FORWARD -j ACCEPT",
        )
        workspace.succeed(f"ip netns exec box {curl} http://${address}:53/")
        workspace.fail(f"ip netns exec box {metadata}")

    with subtest("a restart of the firewall leaves one set of rules, a stop none"):
        workspace.succeed("systemctl restart firewall")
        assert workspace.succeed("iptables --list-rules OUTPUT").count("workspace-metadata") == 1
        workspace.fail(f"runuser -u alice -- {metadata}")
        workspace.succeed("systemctl stop firewall", f"runuser -u alice -- {metadata}")
        assert "workspace-metadata" not in workspace.succeed("iptables-save")
  '';
}
