# A system whose units all run but whose login page does not answer is left for the old one.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "dead-nginx-reverts";

  next.dead =
    { lib, pkgs, ... }:
    {
      systemd.services.nginx.serviceConfig = {
        ExecStart = lib.mkForce "${pkgs.coreutils}/bin/sleep infinity";
        ExecStartPre = lib.mkForce [ ];
        # The signal for a new configuration would end it.
        ExecReload = lib.mkForce "${pkgs.coreutils}/bin/true";
        Type = lib.mkForce "simple";
      };
      systemd.services.nginx.reloadIfChanged = lib.mkForce false;
      systemd.services.nginx.preStart = lib.mkForce "";
    };

  testScript = ''
    upload("dead")
    want("dead")
    wait_for_state("reverted")
    assert running() == booting() == NOW
    assert "login-page" in attribute("reason"), attribute("reason")
    workspace.wait_until_succeeds("curl --silent --fail http://localhost/ | grep 'No workspace yet'", timeout=30)
    assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
