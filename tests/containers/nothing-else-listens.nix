# A workspace as fleet.toml makes it, with all that runs in it: of all its ports a neighbour
# reaches SSH and, where it is public, the two of the gateway. Its firewall lets in nothing else.
{ modules }:
let
  workspace =
    file:
    { lib, ... }:
    {
      imports = [
        ../common/refusing-firewall.nix
      ]
      ++ (import ../../hosts {
        inherit modules;
        nixpkgs = { inherit lib; };
        file = ../fleet/valid/${file}.toml;
      }).modulesOfWorkspaces.alice;
      fileSystems."/persist" = lib.mkForce {
        device = "tmpfs";
        fsType = "tmpfs";
      };
      # What containers have and machines do not.
      networking.useHostResolvConf = false;
    };
in
{
  name = "nothing-else-listens";

  containers.public = workspace "smallest";
  containers.private = workspace "private";

  containers.neighbour =
    { pkgs, ... }:
    {
      environment.systemPackages = [ pkgs.python3 ];
      environment.etc."open-ports.py".source = ../common/open-ports.py;
    };

  testScript = ''
    ssh = "-A nixos-fw -p tcp -m tcp --dport 22 -j nixos-fw-accept"
    http = "-A nixos-fw -p tcp -m tcp --dport 80 -j nixos-fw-accept"
    https = "-A nixos-fw -p tcp -m tcp --dport 443 -j nixos-fw-accept"
    tunnel = "-A nixos-fw -s 35.235.240.0/20 -p tcp -m tcp --dport 80 -j nixos-fw-accept"
    expected = [
        (public, ["22", "80", "443"], [ssh, http, https], [ssh, http, https]),
        (private, ["22"], [ssh, tunnel], [ssh]),
    ]
    # Of every machine: itself, answers to what it asked, ping, and IPv6's own housekeeping.
    always = {
        "-A nixos-fw -i lo -j nixos-fw-accept",
        "-A nixos-fw -m conntrack --ctstate RELATED,ESTABLISHED -j nixos-fw-accept",
        "-A nixos-fw -p icmp -m icmp --icmp-type 8 -j nixos-fw-accept",
        "-A nixos-fw -p ipv6-icmp -j nixos-fw-accept",
        "-A nixos-fw -d fe80::/64 -p udp -m udp --dport 546 -j nixos-fw-accept",
    }

    start_all()
    neighbour.wait_for_unit("multi-user.target")

    for machine, ports, rules, rules6 in expected:
        machine.wait_for_unit("multi-user.target")
        machine.wait_for_unit("nginx.service")
        machine.wait_for_unit("openvscode-server.service")

        with subtest(f"{machine.name}: a neighbour reaches what it should, and nothing else"):
            address = neighbour.succeed(f"getent ahostsv4 {machine.name} | awk '{{ print $1; exit }}'").strip()
            found = neighbour.succeed(f"python3 /etc/open-ports.py {address}").split()
            assert found == ports, (found, machine.succeed("ss --listening --tcp --numeric --processes"))

        with subtest(f"{machine.name}: the firewall lets in nothing else, over IPv6 and UDP neither"):
            for program, wanted in [("iptables", rules), ("ip6tables", rules6)]:
                all_rules = machine.succeed(f"{program} --list-rules nixos-fw").splitlines()
                accepting = [rule for rule in all_rules if rule.endswith("nixos-fw-accept") and rule not in always]
                assert accepting == wanted, (program, accepting)
  '';
}
