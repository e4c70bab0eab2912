# A system that cuts the machine off from the network is left for the old one, by the machine
# itself: nobody could reach it any more.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "no-network-reverts";

  next.cut =
    { pkgs, ... }:
    {
      systemd.services.cut = {
        wantedBy = [ "multi-user.target" ];
        path = [ pkgs.iproute2 ];
        serviceConfig.Type = "oneshot";
        serviceConfig.RemainAfterExit = true;
        script = "ip route add prohibit 192.168.1.1/32";
        preStop = "ip route delete prohibit 192.168.1.1/32";
      };
    };

  testScript = ''
    upload("cut")
    want("cut")
    workspace.wait_until_succeeds("systemctl is-active cut", timeout=90)
    workspace.fail("curl --silent --max-time 5 http://192.168.1.1/")
    wait_for_state("reverted")
    assert running() == booting() == NOW
    assert "the metadata server does not answer" in attribute("reason"), attribute("reason")
    workspace.succeed("curl --silent --max-time 5 http://192.168.1.1/")
  '';
}
