# A machine that booted the image of a profile becomes a workspace by one metadata key: the owner's
# account and the login come with the closure. Also before there is an OAuth client, which is
# made by hand when there is a machine, and while no certificate can be had.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  of =
    login:
    { lib, ... }:
    {
      # As where the name is not known yet, and at once.
      systemd.services."acme-order-renew-${domain}".script = lib.mkForce "exit 10";
      workspace = {
        owner = "alice@acme.example";
        inherit domain;
        gateway = {
          acmeEmail = "ops@acme.example";
          inherit login;
        };
      };
    };
in
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "first-boot-becomes-a-workspace";

  next = {
    password = of "password";
    google = of "google";
  };

  testScript = ''
    def sign_in():
        url = "https://${domain}/oauth2/sign_in"
        return workspace.succeed(f"curl --silent --insecure --connect-to ::127.0.0.1: {url}")

    with subtest("it has the owner's account and the page of the login"):
        workspace.fail("id alice")
        upload("password")
        want("password")
        wait_for_state("current")
        assert running() == booting() == SYSTEMS["password"]
        assert workspace.succeed("id --user alice") == "1000\n"
        assert "type=\"password\"" in sign_in(), sign_in()
        assert workspace.succeed("systemctl show --property SubState --value acme-order-renew-${domain}") == "auto-restart\n"

    with subtest("also with google's login, before there is an OAuth client"):
        upload("google")
        want("google")
        # Said last, so that the state is that of this one.
        google.wait_until_succeeds(f"grep --quiet {SYSTEMS['google']} /run/cloud/attributes/wanted", timeout=60)
        wait_for_state("current")
        assert running() == booting() == SYSTEMS["google"]
        assert "alice" in sign_in(), sign_in()
  '';
}
